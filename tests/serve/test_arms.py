"""Tests of versions beside one another: named arms that answer shares of the keys."""

import json
from typing import Any

import pytest

from setpoint.serve.entities import EndpointSettings, PredictionRecord, ShadowRecord, SplitArm
from setpoint.serve.routing import laid_out
from setpoint.serve.splits import store as splits

from .conftest import Served
from .made import Input, Raises, Sum, canary, live, shadow

KEYS = [f"user-{i}" for i in range(400)]


def split(served: Served, *wanted: tuple[str, int, float]) -> None:
    millionths = [(name, version, round(share * 1e6)) for name, version, share in wanted]
    with served.backend.engine.begin() as conn:
        arms = laid_out(splits.arms(conn, "m"), millionths)
        splits.split(conn, "m", arms)
    served.endpoints.refresh()


def ask(served: Served, keys: list[str], **parameters: Any) -> dict[str, Any]:
    rows: list[list[float | None]] = [[1.0, 2.0]] * len(keys)
    status, answer = served.infer(rows, keys=keys, **parameters)
    assert status == 200, answer
    return dict(answer)


def records(served: Served) -> list[PredictionRecord]:
    return [one for one in served.logged() if isinstance(one, PredictionRecord)]


def test_arms_answer_their_shares_by_key_and_the_answer_names_them(served: Served) -> None:
    served.predictors[3] = Sum(100.0)
    served.deploy(live(1))
    split(served, ("blue", 2, 0.2), ("green", 3, 0.3))
    answer = ask(served, KEYS)
    arms = answer["parameters"]["arms"]
    assert set(arms) == {"live", "blue", "green"}
    assert 50 <= arms.count("blue") <= 115
    assert 80 <= arms.count("green") <= 165
    said = {"live": (1, 3.0), "blue": (2, 30.0), "green": (3, 300.0)}
    found = zip(answer["parameters"]["versions"], answer["outputs"][0]["data"], strict=True)
    assert list(found) == [said[arm] for arm in arms]
    assert ask(served, KEYS)["parameters"]["arms"] == arms, "a key keeps its arm"


def test_the_log_the_header_and_the_metrics_name_the_arm(served: Served) -> None:
    served.deploy(live(1))
    split(served, ("blue", 2, 1.0))
    body = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 2], "data": [1, 2]}]}
    status, _, headers = served.exchange("POST", "/v2/models/m/infer", json.dumps(body).encode())
    assert (status, headers["setpoint-arm"]) == (200, "blue")
    status, _, headers = served.exchange(
        "POST", "/v1/models/m:predict", json.dumps({"instances": [[1, 2]] * 2}).encode()
    )
    assert (status, headers["setpoint-arm"]) == (200, "blue")
    assert [(one.roles, one.arm, one.versions) for one in records(served)] == [
        (b"\5", "blue", [2]),
        (b"\5\5", "blue", [2, 2]),
    ]
    told = served.get("/metrics")[1]
    assert 'setpoint_arm_rows_total{model="m",arm="blue",version="2"} 3' in told
    assert 'version="2",role="arm",status="200"} 2' in told


def test_without_a_test_an_answer_says_nothing_of_arms(served: Served) -> None:
    served.deploy(live(1), canary(2))
    answer = ask(served, KEYS[:20])
    assert "arms" not in answer["parameters"]
    split(served, ("blue", 2, 0.5))
    split(served)
    assert "arms" not in ask(served, KEYS[:20])["parameters"]


def test_arms_take_their_share_before_a_canary_which_shares_the_rest(served: Served) -> None:
    served.predictors[3] = Sum(100.0)
    served.deploy(live(1))
    split(served, ("blue", 3, 0.5))
    before = ask(served, KEYS)["parameters"]["arms"]
    served.deploy(live(1), canary(2, weight=0.5))
    after = ask(served, KEYS)["parameters"]["arms"]
    pairs = list(zip(before, after, strict=True))
    assert {b for a, b in pairs if a == "blue"} == {"blue"}, "a release moves nobody in an arm"
    assert {b for a, b in pairs if a == "live"} == {"live", "canary"}
    assert 60 <= after.count("canary") <= 140


def test_what_falls_to_an_arm_is_scored_by_no_other_version(served: Served) -> None:
    served.predictors[3] = Sum(100.0)
    served.deploy(live(1), canary(2, weight=0.5))
    split(served, ("blue", 3, 0.5))
    arms = ask(served, KEYS[:100], ids=KEYS[:100])["parameters"]["arms"]
    served.sync()
    scored = {i for one in served.logged() if isinstance(one, ShadowRecord) for i in one.ids}
    assert scored == {key for key, arm in zip(KEYS, arms, strict=False) if arm != "blue"}


def test_the_live_version_stands_in_for_an_arm_that_fails(served: Served) -> None:
    served.predictors[3] = Raises()
    served.deploy(live(1))
    split(served, ("blue", 3, 1.0))
    answer = ask(served, ["a"])
    assert answer["outputs"][0]["data"] == [3.0]
    assert answer["parameters"]["arms"] == ["blue"], "whom a key belongs to does not change"
    (record,) = records(served)
    assert (record.failed, record.versions, record.roles, record.arm) == (3, [1], b"\5", "blue")


def test_an_arm_that_does_not_load_fails_and_the_endpoint_answers(served: Served) -> None:
    served.predictors[3] = ZeroDivisionError("no luck")
    served.deploy(live(1))
    split(served, ("blue", 3, 1.0))
    assert ask(served, ["a"])["outputs"][0]["data"] == [3.0]
    assert records(served)[-1].failed == 3


def test_a_slow_model_and_several_requests_in_one_call_keep_their_arms(served: Served) -> None:
    served.deploy(live(1))
    served.configure(EndpointSettings(timeout=5.0))
    split(served, ("blue", 2, 0.5))
    answer = ask(served, KEYS[:50])
    assert set(answer["parameters"]["arms"]) == {"live", "blue"}
    assert {one.arm for one in records(served)} == {"", "blue"}


def test_a_version_that_is_live_too_is_loaded_once_and_told_apart(served: Served) -> None:
    served.deploy(live(1))
    split(served, ("control", 1, 0.5))
    answer = ask(served, KEYS)
    assert set(answer["parameters"]["arms"]) == {"live", "control"}
    assert set(answer["parameters"]["versions"]) == {1}
    assert served.get("/v2/models/m")[1]["versions"] == ["1"]


# --- whom a tester names ------------------------------------------------------------------


def as_tester(served: Served, route: str, *, header: bool = False) -> tuple[int, Any, Any]:
    rows = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 2], "data": [1, 2]}]}
    body = rows if header else {**rows, "parameters": {"route": route}}
    headers = [(b"setpoint-route", route.encode())] if header else []
    status, raw, told = served.exchange(
        "POST", "/v2/models/m/infer", json.dumps(body).encode(), headers
    )
    return status, json.loads(raw), told


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize(
    ("route", "name", "score"),
    [("live", "live", 3.0), ("shadow", "shadow", 30.0), ("blue", "blue", 300.0),
     ("2", "shadow", 30.0), ("3", "blue", 300.0)],
)  # fmt: skip
def test_a_tester_names_who_answers(
    served: Served, route: str, name: str, score: float, *, header: bool
) -> None:
    served.predictors[3] = Sum(100.0)
    served.deploy(live(1), shadow(2))
    split(served, ("blue", 3, 0.01))
    status, answer, headers = as_tester(served, route, header=header)
    assert (status, answer["outputs"][0]["data"]) == (200, [score])
    assert (answer["parameters"]["arms"], headers["setpoint-arm"]) == ([name], name)
    served.sync()
    (record,) = served.logged()
    assert isinstance(record, PredictionRecord)
    assert (record.roles, record.arm) == (b"\6", name), "and nobody scores it besides"


def test_a_tester_sees_the_failure_of_whom_they_named(served: Served) -> None:
    served.predictors[2] = Raises()
    served.deploy(live(1), shadow(2))
    status, answer, _ = as_tester(served, "shadow")
    assert (status, "version 2: ZeroDivisionError" in answer["error"]) == (500, True)
    (record,) = records(served)
    assert (record.failed, record.roles, record.scores) == (2, b"\6", b"")


def test_a_route_that_nobody_has_is_refused_with_those_there_are(served: Served) -> None:
    served.deploy(live(1), canary(2))
    status, answer, _ = as_tester(served, "blue")
    assert status == 404
    assert "live (version 1), canary (version 2)" in answer["error"]
    body = json.dumps({"instances": [[1, 2]], "parameters": {"route": "canary"}}).encode()
    assert served.ask("POST", "/v1/models/m/versions/1:predict", body)[0] == 400
    assert served.ask("POST", "/v1/models/m/versions/2:predict", body)[0] == 200


def test_a_variant_that_sagemakers_clients_target_is_a_route(served: Served) -> None:
    served.deploy(live(1), shadow(2))
    headers = [(b"x-amzn-sagemaker-target-variant", b"shadow"), (b"content-type", b"text/csv")]
    assert served.exchange("POST", "/endpoints/m/invocations", b"1,2\n", headers)[0] == 200
    (record,) = records(served)
    assert (record.versions, record.roles, record.arm) == ([2], b"\6", "shadow")


def test_what_testers_ask_is_logged_whatever_the_sample(served: Served) -> None:
    served.configure(EndpointSettings(sample=0.0001))
    served.deploy(live(1))
    assert as_tester(served, "live")[0] == 200
    assert len(records(served)) == 1


# --- what rows are routed by --------------------------------------------------------------


def test_a_header_routes_all_rows_of_a_request_in_every_protocol(served: Served) -> None:
    served.configure(EndpointSettings(key_header="x-user"))
    served.deploy(live(1))
    split(served, ("blue", 2, 0.5))
    wanted = dict(zip(KEYS, ask(served, KEYS)["parameters"]["arms"], strict=True))
    tensor = {"name": "x", "datatype": "FP64", "shape": [1, 2], "data": [1, 2]}
    for path, body in (
        ("/v2/models/m/infer", {"inputs": [tensor]}),
        ("/v1/models/m:predict", {"instances": [[1, 2], [3, 4]]}),
        ("/invocations", {"inputs": [[1, 2]]}),
    ):
        for user in KEYS[:10]:
            sent = [(b"x-user", user.encode()), (b"content-type", b"application/json")]
            _, _, told = served.exchange("POST", path, json.dumps(body).encode(), sent)
            assert told["setpoint-arm"] == wanted[user], (path, user)


def test_keys_of_a_request_come_before_the_header(served: Served) -> None:
    served.configure(EndpointSettings(key_header="x-user"))
    served.deploy(live(1))
    split(served, ("blue", 2, 0.5))
    arms = ask(served, KEYS)["parameters"]["arms"]
    body = {"instances": [[1, 2]] * len(KEYS), "parameters": {"keys": KEYS}}
    sent = [(b"x-user", b"somebody")]
    _, _, told = served.exchange("POST", "/v1/models/m:predict", json.dumps(body).encode(), sent)
    assert told["setpoint-arm"].split(",") == arms


@pytest.mark.parametrize("weight", [0.5, None])
def test_a_field_that_is_an_input_routes_rows_by_its_value(
    served: Served, weight: float | None
) -> None:
    served.configure(EndpointSettings(key_field="a"))
    served.deploy(live(1), *([canary(2, weight=weight)] if weight else []))
    if weight is None:
        split(served, ("blue", 2, 0.5))
    rows: list[list[float | None]] = [[float(i % 40), 1.0] for i in range(120)]
    status, answer = served.infer(rows)
    assert status == 200
    versions = answer["parameters"]["versions"]
    assert versions[:40] == versions[40:80] == versions[80:]
    assert set(versions) == {1, 2}


def test_a_field_that_is_no_input_is_taken_besides_and_logged(served: Served) -> None:
    served.configure(EndpointSettings(key_field="customer"))
    served.deploy(live(1))
    split(served, ("blue", 2, 0.5))
    rows = [{"a": 1, "b": 2, "customer": key} for key in KEYS]
    body = json.dumps({"instances": rows}).encode()
    _, _, told = served.exchange("POST", "/v1/models/m:predict", body)
    assert told["setpoint-arm"].split(",") == ask(served, KEYS)["parameters"]["arms"]
    assert records(served)[0].texts["customer"][0] in KEYS
    assert [one["name"] for one in served.get("/v2/models/m")[1]["inputs"]] == ["a", "b"]


@pytest.mark.parametrize("datatype", ["INT64", "FP64", "BYTES"])
def test_a_number_names_a_row_as_its_text_does(served: Served, datatype: str) -> None:
    served.configure(EndpointSettings(key_field="customer"))
    served.deploy(live(1))
    split(served, ("blue", 2, 0.5))
    numbers = [*range(200), 2**53 + 1] if datatype != "FP64" else list(range(200))
    wanted = ask(served, [str(key) for key in numbers])["parameters"]["arms"]
    size = [len(numbers)]
    tensors = [
        {"name": "a", "datatype": "FP64", "shape": size, "data": [1.0] * len(numbers)},
        {"name": "b", "datatype": "FP64", "shape": size, "data": [2.0] * len(numbers)},
        {"name": "customer", "datatype": datatype, "shape": size, "data": numbers},
    ]
    if datatype == "BYTES":
        tensors[-1]["data"] = [str(key) for key in numbers]
    _, answer = served.post("/v2/models/m/infer", {"inputs": tensors})
    assert answer["parameters"]["arms"] == wanted
    rows = [{"a": 1, "b": 2, "customer": key} for key in numbers]
    _, _, told = served.exchange(
        "POST", "/v1/models/m:predict", json.dumps({"instances": rows}).encode()
    )
    assert told["setpoint-arm"].split(",") == wanted


def test_a_row_without_its_key_is_routed_by_its_id(served: Served) -> None:
    served.predictors[1] = Sum(inputs=[Input("a"), Input("who", "BYTES")])
    served.predictors[2] = Sum(10.0, inputs=[Input("a"), Input("who", "BYTES")])
    served.configure(EndpointSettings(key_field="who"))
    served.deploy(live(1))
    split(served, ("blue", 2, 0.5))
    rows = [{"a": 1, "who": None}] * len(KEYS)
    body = {"instances": rows, "parameters": {"ids": KEYS}}
    _, _, told = served.exchange("POST", "/v1/models/m:predict", json.dumps(body).encode())
    assert set(told["setpoint-arm"].split(",")) == {"live", "blue"}


def test_an_arm_that_is_kept_has_the_same_spans_in_the_store(served: Served) -> None:
    served.deploy(live(1))
    split(served, ("blue", 2, 0.2))
    with served.backend.engine.begin() as conn:
        assert splits.arms(conn, "m") == [SplitArm(name="blue", version=2, spans=[(0, 200_000)])]


def test_rows_of_an_arm_are_counted_without_those_of_testers(served: Served) -> None:
    served.deploy(live(1))
    split(served, ("blue", 2, 1.0))
    ask(served, KEYS[:7])
    ask(served, KEYS[:3], route="blue")
    _, told = served.get("/metrics")
    assert 'setpoint_arm_rows_total{model="m",arm="blue",version="2"} 7' in told
