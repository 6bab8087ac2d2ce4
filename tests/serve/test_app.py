import zlib
from typing import Any

import numpy as np
import pytest
from tests.conftest import NOON

from setpoint.core.clock import ManualClock, to_micros
from setpoint.errors import Unavailable
from setpoint.serve import http
from setpoint.serve.entities import LabelRecord, PredictionRecord, ShadowRecord
from setpoint.serve.rules import scores

from .conftest import Served
from .made import Answers, Input, Raises, Sum, canary, live, shadow

ROWS = [[float(i), 1.0] for i in range(40)]
IDS = [f"row-{i}" for i in range(40)]

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_a_request_is_answered_and_in_the_log(served: Served) -> None:
    served.deploy(live())
    status, answer = served.infer([[1.0, 2.0], [3.0, 4.0]], ids=["a", "b"])
    assert status == 200
    assert answer["outputs"] == [
        {"name": "score", "shape": [2], "datatype": "FP64", "data": [3.0, 7.0]}
    ]
    assert answer["parameters"] == {"ids": ["a", "b"], "versions": [1, 1]}
    assert (answer["model_name"], answer["model_version"]) == ("m", "1")
    (record,) = served.logged()
    assert isinstance(record, PredictionRecord)
    assert (record.ids, record.versions, record.roles) == (["a", "b"], [1, 1], b"\0\0")
    assert (record.columns, record.at_us) == (["a", "b"], to_micros(NOON))
    assert np.frombuffer(record.values).tolist() == [1, 2, 3, 4]
    assert scores(record) == [3.0, 7.0]


def test_ids_are_made_where_none_are_given(served: Served) -> None:
    served.deploy(live())
    _, one = served.infer([[1.0, 2.0]])
    _, two = served.infer([[1.0, 2.0], [1.0, 2.0]])
    ids = [*one["parameters"]["ids"], *two["parameters"]["ids"]]
    assert len(set(ids)) == 3
    assert all(name.startswith("prd_") for name in ids)
    assert one["id"] == ids[0]


def test_time_is_the_stores(served: Served, clock: ManualClock) -> None:
    served.deploy(live())
    later = NOON.replace(month=7)
    clock.set(later)
    served.infer([[1.0, 2.0]])
    assert served.logged()[0].at_us == to_micros(later)


def test_rows_are_split_by_key_and_reassembled_in_order(served: Served) -> None:
    served.deploy(live(1), canary(2, weight=0.5))
    _, answer = served.infer(ROWS, ids=IDS)
    versions = answer["parameters"]["versions"]
    assert set(versions) == {1, 2}
    expected = [(i + 1) * (10 if version == 2 else 1) for i, version in enumerate(versions)]
    assert answer["outputs"][0]["data"] == expected
    again = served.infer(ROWS, ids=[f"again-{i}" for i in IDS], keys=IDS)
    assert again[1]["parameters"]["versions"] == versions


def test_both_arms_score_every_row_while_two_versions_are_deployed(served: Served) -> None:
    served.deploy(live(1), canary(2, weight=0.5))
    served.infer(ROWS, ids=IDS)
    served.sync()
    answered = {i: (v, s) for i, v, s in _rows(served, PredictionRecord)}
    other = {i: (v, s) for i, v, s in _rows(served, ShadowRecord)}
    assert answered.keys() == other.keys() == set(IDS)
    for i, name in enumerate(IDS):
        found = dict((answered[name], other[name]))
        assert found == {1: i + 1, 2: 10 * (i + 1)}


def test_a_shadow_scores_every_row_and_answers_none(served: Served) -> None:
    served.deploy(live(1), shadow(2))
    _, answer = served.infer(ROWS, ids=IDS)
    served.sync()
    assert set(answer["parameters"]["versions"]) == {1}
    assert [v for _, v, _ in _rows(served, ShadowRecord)] == [2] * 40


def test_the_live_version_stands_in_for_a_canary_that_raises(served: Served) -> None:
    served.predictors[2] = Raises()
    served.deploy(live(1), canary(2, weight=0.5))
    status, answer = served.infer(ROWS, ids=IDS)
    assert status == 200
    assert answer["outputs"][0]["data"] == [i + 1 for i in range(40)]
    served.sync()
    ok, failed = [r for r in served.logged() if isinstance(r, PredictionRecord)]
    assert (ok.status, ok.fallback, set(ok.roles)) == (0, False, {0})
    assert (failed.status, failed.fallback, failed.failed) == (500, True, 2)
    assert set(failed.roles) == {1}
    assert set(failed.versions) == {1}
    assert 'role="canary",status="500"} 1' in served.get("/metrics")[1]


def test_a_shadow_that_raises_is_evidence_and_nothing_else(served: Served) -> None:
    served.predictors[2] = Raises()
    served.deploy(live(1), shadow(2))
    assert served.infer(ROWS, ids=IDS)[0] == 200
    served.sync()
    (record,) = [r for r in served.logged() if isinstance(r, ShadowRecord)]
    assert (record.status, record.scores, record.ids) == (500, b"", IDS)


@pytest.mark.parametrize(
    ("predictor", "says"),
    [
        (Raises(), "ZeroDivisionError: no luck"),
        (Answers([1.0, 2.0, 3.0]), r"answered \(3,\) for 1 rows"),
        (Answers([np.nan]), "answered nan for row 0"),
        (Answers([np.inf]), "answered inf for row 0"),
    ],
)
def test_a_live_version_that_fails_is_a_500_and_logged(
    served: Served, predictor: Sum, says: str
) -> None:
    served.predictors[1] = predictor
    served.deploy(live())
    status, answer = served.infer([[1.0, 2.0]], ids=["a"])
    assert status == 500
    assert says.replace("\\", "") in answer["error"]
    assert "Traceback" not in answer["error"]
    (record,) = served.logged()
    assert isinstance(record, PredictionRecord)
    assert (record.status, record.failed, record.fallback, record.scores) == (500, 1, False, b"")


def test_a_row_that_lacks_an_input_may_go_without_an_answer(served: Served) -> None:
    served.deploy(live())  # a sum with NaN is NaN
    status, answer = served.infer([[1.0, 2.0], [None, 2.0]], ids=["a", "b"])
    assert status == 200
    assert answer["outputs"][0]["data"] == [3.0, None]


def test_a_request_without_rows_is_answered_without_the_model(served: Served) -> None:
    served.deploy(live())
    empty = [{"name": n, "shape": [0], "datatype": "FP64", "data": []} for n in ("a", "b")]
    status, answer = served.post("/v2/models/m/infer", {"inputs": empty})
    assert (status, answer["outputs"][0]["data"]) == (200, [])
    assert served.logged() == []


def test_a_canary_may_need_an_input_that_the_live_version_does_not_know(served: Served) -> None:
    served.predictors[2] = Sum(10, [Input("b"), Input("a"), Input("city", "BYTES")])
    served.deploy(live(1), canary(2, weight=1.0))
    columns = [
        {"name": n, "shape": [1], "datatype": "FP64", "data": [value]}
        for n, value in (("a", 1.0), ("b", 2.0))
    ]
    city = {"name": "city", "shape": [1], "datatype": "BYTES", "data": ["Bern"]}
    _, with_it = served.post("/v2/models/m/infer", {"inputs": [*columns, city]})
    _, without = served.post("/v2/models/m/infer", {"inputs": columns})
    assert (with_it["outputs"][0]["data"], with_it["model_version"]) == ([70.0], "2")
    assert (without["outputs"][0]["data"], without["model_version"]) == ([3.0], "1")


def test_a_version_is_warm_before_it_takes_traffic(served: Served) -> None:
    predictor = Sum()
    served.predictors[1] = predictor
    served.deploy(live())
    assert predictor.calls >= 1  # once more where the first call was slow


def test_changing_a_weight_loads_nothing_again(served: Served) -> None:
    served.deploy(live(1), canary(2, weight=0.05))
    served.predictors.clear()
    served.deploy(live(1), canary(2, weight=1.0))
    assert served.infer([[1.0, 2.0]])[1]["model_version"] == "2"
    served.deploy(live(2))
    assert served.infer([[1.0, 2.0]])[1]["model_version"] == "2"


def test_the_old_version_serves_on_when_the_new_one_does_not_load(served: Served) -> None:
    served.deploy(live(1))
    served.predictors[2] = OSError("weights are gone")
    generation = served.deploy(live(2))
    assert served.infer([[1.0, 2.0]])[1]["model_version"] == "1"
    behind = {"model": "m", "generation": generation}
    status, answer = served.post("/-/sync", behind)
    assert status == 409
    assert "serves generation 1, not 2" in answer["error"]
    served.predictors[2] = Sum()
    assert served.post("/-/sync", behind)[0] == 200
    assert served.infer([[1.0, 2.0]])[1]["model_version"] == "2"


def test_a_canary_that_does_not_load_fails_as_a_canary(served: Served) -> None:
    served.predictors[2] = OSError("weights are gone")
    served.deploy(live(1), canary(2, weight=1.0))
    assert served.infer([[1.0, 2.0]])[1]["outputs"][0]["data"] == [3.0]
    (record,) = served.logged()
    assert isinstance(record, PredictionRecord)
    assert (record.status, record.failed, record.fallback) == (500, 2, True)


def test_a_model_whose_only_version_does_not_load_says_so(served: Served) -> None:
    served.predictors[1] = OSError("weights are gone")
    served.deploy(live(1))
    for status, answer in (served.infer([[1.0, 2.0]]), served.get("/v2/models/m/ready")):
        assert status == 503
        assert "weights are gone" in answer["error"]


def test_a_model_taken_down_is_not_found(served: Served) -> None:
    served.deploy(live())
    served.deploy()
    status, answer = served.infer([[1.0, 2.0]])
    assert status == 404
    assert "served now: none yet" in answer["error"]


def test_labels_are_in_the_log_when_they_are_acknowledged(served: Served) -> None:
    served.deploy(live())
    assert served.post("/v2/models/m/labels", {"ids": ["a", "b"], "labels": [True, 0.5]}) == (
        200,
        {"accepted": 2},
    )
    assert served.logged() == [
        LabelRecord(at_us=to_micros(NOON), model="m", ids=["a", "b"], labels=[1.0, 0.5])
    ]


@pytest.mark.parametrize(
    ("path", "value", "status", "says"),
    [
        ("/v2/models/m/infer", {}, 400, "missing required field `inputs`"),
        ("/v2/models/x/infer", {}, 404, "no model 'x'"),
        ("/v2/models/m/labels", {"ids": ["a"], "labels": []}, 400, "1 ids but 0 labels"),
        ("/v2/models/m/labels", {"ids": ["a"], "labels": ["yes"]}, 400, "'yes' is no class"),
        ("/v2/models/m/labels", {"ids": ["a"], "labels": [None]}, 400, "got `null`"),
        ("/v2/models/m/labels", {"ids": [""], "labels": [1]}, 400, "cannot be an id"),
        ("/v2/models/m/wonder", {}, 404, "nothing answers POST"),
        ("/-/sync", [], 400, "sync request"),
    ],
)
def test_a_wrong_request_is_one_clear_error(
    served: Served, path: str, value: Any, status: int, says: str
) -> None:
    served.deploy(live())
    found, answer = served.post(path, value)
    assert (found, list(answer)) == (status, ["error"])
    assert says in answer["error"]


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"ids": ["a", "a"]}, "comes twice"),
        ({"ids": ["a"]}, "1 ids for 2 rows"),
        ({"keys": ["a"]}, "1 keys for 2 rows"),
        ({"ids": ["a", "b\0"]}, "cannot be an id"),
    ],
)
def test_ids_and_keys_come_one_a_row(served: Served, parameters: dict[str, Any], says: str) -> None:
    served.deploy(live())
    status, answer = served.infer([[1.0, 2.0], [1.0, 2.0]], **parameters)
    assert status == 400
    assert says in answer["error"]
    assert served.logged() == []


def test_a_body_that_is_too_long_is_refused(served: Served) -> None:
    served.deploy(live())
    long = b" " * (http.MOST_BYTES + 1)
    said = [(b"content-length", str(len(long)).encode())]
    packed = zlib.compress(long)
    for body, headers in (
        (b"", said),
        (long, []),
        (packed, [(b"content-encoding", b"deflate")]),
    ):
        status, answer = served.ask("POST", "/v2/models/m/infer", body, headers)
        assert status == 413
        assert "longer than 10,000,000 bytes" in answer["error"]


def test_a_body_may_be_packed(served: Served) -> None:
    served.deploy(live())
    body = zlib.compress(b'{"ids": ["a"], "labels": [1]}', wbits=31)
    asked = ("POST", "/v2/models/m/labels", body)
    assert served.ask(*asked, [(b"content-encoding", b"gzip")])[0] == 200
    assert served.ask(*asked, [(b"content-encoding", b"br")])[0] == 400
    assert served.ask(*asked, [(b"content-encoding", b"deflate")])[0] == 400


def test_a_web_page_cannot_send_anything(served: Served) -> None:
    served.deploy(live())
    origin = [(b"origin", b"https://example.org")]
    body = b'{"ids": ["a"], "labels": [1]}'
    assert served.ask("POST", "/v2/models/m/labels", body, origin)[0] == 403
    assert served.logged() == []


def test_what_cannot_be_logged_is_not_answered(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.deploy(live())

    def full(_: object) -> None:
        raise Unavailable("the prediction log has no room for another segment")

    monkeypatch.setattr(served.writer, "append", full)
    status, answer = served.infer([[1.0, 2.0]])
    assert status == 503
    assert "no room" in answer["error"]


def test_metadata_and_health_are_as_the_protocol_has_them(served: Served) -> None:
    assert served.get("/healthz")[0] == 503
    served.deploy(live(1), canary(2))
    for path in ("/healthz", "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/m/ready"):
        assert served.get(path)[0] == 200
    _, model = served.get("/v2/models/m")
    assert model["versions"] == ["1", "2"]
    assert model["inputs"][0] == {"name": "a", "datatype": "FP64", "shape": [-1]}
    assert model["outputs"] == [{"name": "score", "datatype": "FP64", "shape": [-1]}]
    assert served.get("/nowhere")[0] == 404


def test_metrics_count_requests_labels_swaps_and_bytes(served: Served) -> None:
    served.deploy(live())
    served.infer([[1.0, 2.0], [3.0, 4.0]])
    served.post("/v2/models/m/labels", {"ids": ["a"], "labels": [1]})
    _, text = served.get("/metrics")
    for line in (
        'setpoint_requests_total{model="m",version="1",role="live",status="200"} 1',
        'setpoint_rows_total{model="m",version="1",role="live"} 2',
        'setpoint_request_seconds_bucket{model="m",le="+Inf"} 1',
        'setpoint_request_seconds_count{model="m"} 1',
        'setpoint_labels_total{model="m"} 1',
        'setpoint_model_swaps_total{model="m"} 1',
        'setpoint_generation{model="m"} 1',
    ):
        assert line in text.splitlines()
    assert f"setpoint_log_bytes_total {served.writer.bytes}" in text


def _rows(served: Served, kind: type[Any]) -> list[tuple[str, int, Any]]:
    found: list[tuple[str, int, Any]] = []
    for record in served.logged():
        if isinstance(record, kind):
            found += list(zip(record.ids, record.versions, scores(record), strict=True))
    return found
