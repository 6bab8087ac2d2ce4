"""A sample of rows is logged, all that fails, and counts of the rest; some values never."""

import asyncio
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from setpoint.core.clock import ManualClock
from setpoint.serve import store
from setpoint.serve.entities import (
    CountRecord,
    EndpointSettings,
    LabelRecord,
    Position,
    PredictionRecord,
    ShadowRecord,
)
from setpoint.serve.sampling import is_sampled
from setpoint.serve.seal import seal

from .conftest import Served
from .made import Answers, Input, Raises, Sum, canary, live, shadow

SHARE = 0.3
IDS = [f"order-{i}" for i in range(60)]
INSIDE = [name for name in IDS if is_sampled(name, SHARE)]
OUTSIDE = [name for name in IDS if not is_sampled(name, SHARE)]


class Sometimes(Sum):
    """Fails on rows whose first number is negative."""

    def predict(self, rows: Any) -> Any:
        if (rows[:, 0] < 0).any():
            raise ZeroDivisionError("no luck")
        return super().predict(rows)


@pytest.fixture
def sampled(served: Served) -> Served:
    configure(served, sample=SHARE)
    return served


def configure(served: Served, **settings: Any) -> None:
    with served.backend.engine.begin() as conn:
        store.configure(conn, "m", EndpointSettings(**settings))
    served.endpoints.refresh()


def of(served: Served, kind: type[Any]) -> list[Any]:
    return [record for record in served.logged() if isinstance(record, kind)]


def counted(served: Served) -> list[CountRecord]:
    served.app.keeper.flush()
    return of(served, CountRecord)


def test_the_rows_logged_are_those_whose_id_is_in_the_sample(sampled: Served) -> None:
    sampled.deploy(live())
    for name in IDS:
        assert sampled.infer([[1.0, 2.0]], ids=[name])[0] == 200
    logged = of(sampled, PredictionRecord)
    assert [record.ids for record in logged] == [[name] for name in INSIDE]
    assert {record.sample for record in logged} == {SHARE}
    (count,) = counted(sampled)
    assert (count.requests, count.rows, count.failed) == (len(OUTSIDE), len(OUTSIDE), 0)
    told = sampled.get("/metrics")[1]
    assert f'setpoint_unlogged_rows_total{{model="m"}} {len(OUTSIDE)}' in told
    assert f'status="200"}} {len(IDS)}' in told


def test_counts_say_as_what_a_version_answered(sampled: Served) -> None:
    sampled.deploy(live(), canary(weight=0.5))
    roles = {"live": 0, "canary": 0}
    for name in OUTSIDE:
        _, answer = sampled.infer([[1.0, 2.0]], ids=[name])
        roles["canary" if answer["parameters"]["versions"] == [2] else "live"] += 1
    told = {(count.version, count.role): count.rows for count in counted(sampled) if count.rows}
    assert told == {(1, 0): roles["live"], (2, 1): roles["canary"]}
    assert min(roles.values()) > 0


def test_a_request_of_many_rows_is_logged_in_part_and_says_how_much_is_missing(
    sampled: Served,
) -> None:
    sampled.deploy(live())
    rows = [[float(i), 0.5] for i in range(len(IDS))]
    answer = sampled.infer(rows, ids=IDS)[1]
    assert answer["outputs"][0]["data"] == [i + 0.5 for i in range(len(IDS))]
    (record,) = of(sampled, PredictionRecord)
    assert (record.ids, record.unlogged) == (INSIDE, len(OUTSIDE))
    places = [IDS.index(name) for name in INSIDE]
    assert np.frombuffer(record.values).reshape(-1, 2)[:, 0].tolist() == places
    assert np.frombuffer(record.scores).tolist() == [place + 0.5 for place in places]
    assert counted(sampled) == []


def test_whatever_fails_is_logged_whole_after_the_counts_of_what_went_well_before(
    sampled: Served,
) -> None:
    sampled.predictors[1] = Sometimes()
    sampled.deploy(live())
    a, b, c, d = OUTSIDE[:4]
    for name, value in ((a, 1.0), (b, 1.0), (c, -1.0), (d, 1.0)):
        sampled.infer([[value, 2.0]], ids=[name])
    sampled.app.keeper.flush()
    before, failed, after = sampled.logged()
    assert isinstance(before, CountRecord)
    assert isinstance(after, CountRecord)
    assert isinstance(failed, PredictionRecord)
    assert (before.requests, after.requests) == (2, 1)
    assert (failed.ids, failed.failed) == ([c], 1)


def test_rows_that_a_baseline_answered_are_logged_whole(sampled: Served) -> None:
    sampled.predictors[1], sampled.baselines[1] = Raises(), Sum(2.0)
    sampled.deploy(live())
    assert sampled.infer([[1.0, 2.0]] * 3, ids=OUTSIDE[:3])[1]["parameters"]["fallback"]
    (record,) = of(sampled, PredictionRecord)
    assert (record.ids, record.unlogged, record.fallback) == (OUTSIDE[:3], 0, True)


def test_the_other_arm_scores_every_row_and_is_logged_for_those_of_the_sample(
    sampled: Served,
) -> None:
    sampled.deploy(live(), shadow())
    for name in IDS:
        sampled.infer([[1.0, 2.0]], ids=[name])
    sampled.sync()
    assert [record.ids for record in of(sampled, ShadowRecord)] == [[name] for name in INSIDE]
    answers, shadows = sorted(counted(sampled), key=lambda one: one.shadow)
    assert (answers.version, answers.rows, answers.requests) == (1, len(OUTSIDE), len(OUTSIDE))
    assert (shadows.version, shadows.rows, shadows.requests) == (2, 0, len(OUTSIDE))


def test_a_failure_of_the_other_arm_outside_the_sample_is_counted_in_its_place(
    sampled: Served,
) -> None:
    sampled.predictors[2] = Sometimes()
    sampled.deploy(live(), shadow())
    for name, value in zip(OUTSIDE[:5], (1.0, 1.0, -1.0, 1.0, -1.0), strict=True):
        sampled.infer([[value, 2.0]], ids=[name])
        sampled.sync()
    told = [(one.requests, one.failed) for one in counted(sampled) if one.shadow]
    assert told == [(2, 0), (1, 1), (1, 0), (1, 1)]


def test_slow_requests_are_counted_by_the_bound_of_the_spec(served: Served) -> None:
    configure(served, sample=SHARE, slow=1e-6)
    served.deploy(live())
    for name in OUTSIDE[:4]:
        served.infer([[1.0, 2.0]], ids=[name])
    (count,) = counted(served)
    assert (count.slow, count.bound) == (4, 1)


def test_counts_are_written_down_though_no_other_request_comes(sampled: Served) -> None:
    async def ask_and_wait() -> None:
        sampled.app.infer_now("m", body)
        async with asyncio.timeout(10):
            while not sampled.logged():  # noqa: ASYNC110 - the log has no event to await
                await asyncio.sleep(0.05)

    sampled.deploy(live())
    name = OUTSIDE[0]
    body = (
        '{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP64","data":[1.0,2.0]}],'
        f'"parameters":{{"ids":["{name}"]}}}}'
    ).encode()
    sampled._runner.run(ask_and_wait())
    (count,) = sampled.logged()
    assert isinstance(count, CountRecord)
    assert count.requests == 1


def test_counts_are_written_down_when_the_server_ends(sampled: Served) -> None:
    sampled.deploy(live())
    sampled.infer([[1.0, 2.0]], ids=OUTSIDE[:1])
    assert sampled.logged() == []
    sampled.app.keeper.close()  # as the server's last act before it closes the log
    assert [record.requests for record in of(sampled, CountRecord)] == [1]


def test_where_counts_cannot_be_written_down_requests_are_refused_from_the_next_second_on(
    sampled: Served, clock: ManualClock
) -> None:
    sampled.deploy(live())
    sampled.writer.close()  # as good as a disk that is full
    assert sampled.infer([[1.0, 2.0]], ids=OUTSIDE[:1])[0] == 200
    clock.advance(timedelta(seconds=1))
    for name in OUTSIDE[1:4]:
        assert sampled.infer([[1.0, 2.0]], ids=[name])[0] == 503


def test_all_labels_are_logged_with_the_share_of_their_time(sampled: Served) -> None:
    sampled.deploy(live())
    sampled.post("/v2/models/m/labels", {"ids": IDS, "labels": [1] * len(IDS)})
    (record,) = of(sampled, LabelRecord)
    assert (record.ids, record.sample) == (IDS, SHARE)
    told = sampled.get("/metrics")[1]
    assert f'setpoint_unsampled_labels_total{{model="m"}} {len(OUTSIDE)}' in told


def test_without_a_sample_nothing_is_counted_or_left_out(served: Served) -> None:
    served.deploy(live())
    for name in IDS:
        served.infer([[1.0, 2.0]], ids=[name])
    assert [record.ids for record in of(served, PredictionRecord)] == [[name] for name in IDS]
    assert counted(served) == []


def test_sealed_weights_add_up_to_about_what_was_answered(sampled: Served) -> None:
    sampled.predictors[1] = Sometimes()
    sampled.deploy(live())
    for name in IDS:
        sampled.infer([[-1.0 if name.endswith("7") else 1.0, 2.0]], ids=[name])
    sampled.app.keeper.flush()
    while sampled.writer.position.segment < 2:  # a segment that is finished is sealed
        sampled.writer.append(LabelRecord(at_us=0, model="m", ids=["x" * 5_000], labels=[1.0]))
    seal(sampled.folder, Position(2))
    rows = pl.read_parquet(sampled.folder / "parquet" / "**" / "predictions-*.parquet")
    failed = rows.filter(pl.col("failed") != 0)
    assert failed["weight"].to_list() == [1.0] * 6
    kept = rows.filter(pl.col("failed") == 0)
    assert kept["weight"].unique().to_list() == [pytest.approx(1 / SHARE)]
    counts = pl.read_parquet(sampled.folder / "parquet" / "**" / "counts-*.parquet")
    assert len(rows) + counts["rows"].sum() == len(IDS)


TEXTS = [Input("name", "BYTES"), Input("a"), Input("b")]


def tensors(*names: str) -> dict[str, Any]:
    count = len(names)
    numbers = {"shape": [count], "datatype": "FP64"}
    return {
        "inputs": [
            {"name": "name", "shape": [count], "datatype": "BYTES", "data": list(names)},
            {"name": "a", "data": [41.5] * count, **numbers},
            {"name": "b", "data": [2.0] * count, **numbers},
        ]
    }


def test_redacted_values_are_used_and_not_logged(served: Served) -> None:
    configure(served, redact=("a", "name", "nobody takes this"))
    served.predictors[1] = Sum(inputs=TEXTS)
    served.deploy(live())
    answer = served.post("/v2/models/m/infer", tensors("Ada", "Grace"))[1]
    assert answer["outputs"][0]["data"] == [46.5, 48.5]
    (record,) = of(served, PredictionRecord)
    assert record.texts == {"name": [None, None]}
    matrix = np.frombuffer(record.values).reshape(2, -1)
    assert np.isnan(matrix[:, record.columns.index("a")]).all()
    assert matrix[:, record.columns.index("b")].tolist() == [2.0, 2.0]
    assert record.redacted == ("a", "name")


def test_what_a_model_says_when_it_fails_on_a_redacted_value_is_not_told_to_the_servers_log(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    class Quotes(Sum):
        def predict(self, rows: Any) -> Any:
            if self.calls:
                raise ValueError(f"cannot read {rows['name'][0]!r}")
            return super().predict(rows)

    configure(served, redact=("name",))
    served.predictors[1] = Quotes(inputs=TEXTS)
    served.deploy(live(), canary(2, weight=0.0))
    status, answer = served.post("/v2/models/m/infer", tensors("Ada-Lovelace"))
    assert (status, "Ada-Lovelace" in answer["error"]) == (500, True), "who sent it may read it"
    (told,) = [record for record in caplog.records if record.message == "model raised"]
    assert "ValueError" in vars(told)["trace"]
    assert "Ada-Lovelace" not in str(vars(told))


def test_a_segment_holds_no_byte_of_a_redacted_value(served: Served) -> None:
    configure(served, redact=("name", "a"), sample=SHARE)
    failing = Answers([np.inf])
    failing.inputs = TEXTS
    served.predictors |= {1: Sum(inputs=TEXTS), 2: failing}
    served.deploy(live(), canary(2))
    for name in IDS:
        served.post("/v2/models/m/infer", tensors(f"secret-{name}"))
    served.sync()
    written = b"".join(file.read_bytes() for file in served.folder.glob("*.seg"))
    assert b"order-" not in written
    assert b"secret" not in written
    assert np.float64(41.5).tobytes() not in written
