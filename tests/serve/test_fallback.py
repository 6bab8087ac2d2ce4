"""When a version fails, the live version's baseline answers, and everybody can tell."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from setpoint.errors import Invalid
from setpoint.models.flavors import pickles
from setpoint.serve import store
from setpoint.serve.entities import Deployment, EndpointSettings, PredictionRecord, Role

from .conftest import Served
from .made import Answers, Input, Raises, Sum, canary, live


@pytest.mark.parametrize("failing", [Raises(), Answers([np.nan, 1.0]), Answers([np.inf, 1.0])])
def test_the_baseline_answers_for_a_live_version_that_fails(served: Served, failing: Sum) -> None:
    failing.calls = 0
    served.predictors[1], served.baselines[1] = failing, Sum(2.0)
    served.deploy(live())
    status, answer = served.infer([[1.0, 2.0], [3.0, 4.0]], ids=["a", "b"])
    assert status == 200
    assert answer["outputs"][0]["data"] == [6.0, 14.0]
    assert answer["parameters"] == {"ids": ["a", "b"], "versions": [1, 1], "fallback": True}
    (record,) = served.logged()
    assert isinstance(record, PredictionRecord)
    assert (record.status, record.failed, record.fallback) == (500, 1, True)
    assert (record.versions, record.roles) == ([1, 1], b"\2\2")
    told = served.get("/metrics")[1]
    assert 'setpoint_fallback_rows_total{model="m"} 2' in told
    assert 'version="1",role="fallback",status="500"} 1' in told


def test_an_answer_of_the_version_itself_says_nothing_of_a_fallback(served: Served) -> None:
    served.baselines[1] = Sum(2.0)
    served.deploy(live())
    answer = served.infer([[1.0, 2.0], [None, 2.0]], ids=["a", "b"])[1]
    assert answer["outputs"][0]["data"] == [3.0, None], "a missing input is no failure"
    assert "fallback" not in answer["parameters"]


def test_the_baseline_answers_when_canary_and_live_version_fail(served: Served) -> None:
    served.predictors |= {1: Raises(), 2: Raises()}
    served.baselines[1] = Sum(3.0)
    served.deploy(live(1), canary(2, weight=1.0))
    status, answer = served.infer([[1.0, 2.0]], ids=["a"])
    assert (status, answer["outputs"][0]["data"]) == (200, [9.0])
    served.sync()
    (record,) = served.logged()
    assert isinstance(record, PredictionRecord)
    assert (record.failed, record.versions, record.roles) == (2, [1], b"\2")


@pytest.mark.parametrize(
    "baseline", [Raises(), ZeroDivisionError("no luck"), Sum(inputs=[Input("c"), Input("b")])]
)
def test_a_baseline_that_cannot_answer_changes_nothing(
    served: Served, baseline: Sum | Exception
) -> None:
    served.predictors[1], served.baselines[1] = Raises(), baseline
    served.deploy(live())
    status, answer = served.infer([[1.0, 2.0]], ids=["a"])
    assert status == 500
    assert "version 1: ZeroDivisionError" in answer["error"]
    (record,) = served.logged()
    assert isinstance(record, PredictionRecord)
    assert (record.failed, record.fallback, record.scores) == (1, False, b"")


def test_a_baseline_keeps_its_place_when_its_version_goes_live(served: Served) -> None:
    failing = Raises()
    served.predictors[2], served.baselines[2] = failing, Sum(5.0)
    served.deploy(live(1), canary(2))
    served.deploy(live(2))
    assert served.infer([[1.0, 2.0]])[1]["outputs"][0]["data"] == [15.0]
    assert failing.calls == 1, "it was loaded and warmed once"


def test_a_fallback_is_never_deployed(served: Served) -> None:
    wanted = [live(1), Deployment(model="m", version=2, role=Role.FALLBACK, weight=0.0)]
    with served.backend.engine.begin() as conn, pytest.raises(Invalid):
        store.deploy(conn, "m", wanted)


def keep(served: Served, function: Callable[[Any], Any]) -> EndpointSettings:
    served.kept["b3:1"] = pickles.dump(function)
    return EndpointSettings(fallback_code="b3:1", fallback_source="project:function")


def test_a_constant_answers_for_a_version_that_fails(served: Served) -> None:
    served.predictors[1], served.baselines[1] = Raises(), Sum(2.0)
    served.configure(EndpointSettings(fallback_value=0.3))
    served.deploy(live())
    status, answer = served.infer([[1.0, 2.0], [3.0, 4.0]], ids=["a", "b"])
    assert (status, answer["outputs"][0]["data"]) == (200, [0.3, 0.3]), "and not the baseline"
    assert answer["parameters"]["fallback"] is True
    (record,) = served.logged()
    assert isinstance(record, PredictionRecord)
    assert (record.status, record.failed, record.roles) == (500, 1, b"\2\2")


@pytest.mark.parametrize("mixed", [False, True])
def test_a_function_answers_by_the_columns_of_the_rows(served: Served, *, mixed: bool) -> None:
    inputs = [Input("a"), Input("b", "BYTES" if mixed else "FP64")]
    served.predictors[1] = Raises(inputs=inputs)
    served.configure(keep(served, lambda columns: columns["a"] * 7))
    served.deploy(live())
    body = {"instances": [{"a": 1, "b": "x" if mixed else 2}, {"a": 3, "b": "y" if mixed else 4}]}
    assert served.post("/v1/models/m:predict", body) == (200, {"predictions": [7.0, 21.0]})


def test_a_function_may_give_one_number_for_all_rows(served: Served) -> None:
    served.predictors[1] = Raises()
    served.configure(keep(served, lambda _: 0.5))
    served.deploy(live())
    assert served.infer([[1.0, 2.0], [3.0, 4.0]])[1]["outputs"][0]["data"] == [0.5, 0.5]


@pytest.mark.parametrize("function", [lambda _: 1 / 0, lambda _: [1.0, 2.0, 3.0], lambda _: np.nan])
def test_a_function_that_cannot_answer_leaves_the_failure_as_it_was(
    served: Served, function: Callable[[Any], Any]
) -> None:
    served.predictors[1] = Raises()
    served.configure(keep(served, function))
    served.deploy(live())
    status, answer = served.infer([[1.0, 2.0]])
    assert (status, "version 1: ZeroDivisionError: no luck" in answer["error"]) == (500, True)


def test_a_version_serves_whose_function_does_not_load(served: Served) -> None:
    served.configure(EndpointSettings(fallback_code="b3:gone"))
    served.deploy(live())
    assert served.infer([[1.0, 2.0]])[0] == 200
    assert 'setpoint_model_load_failures_total{model="m"} 1' in served.get("/metrics")[1]


def test_another_rule_is_in_force_without_loading_the_version_again(served: Served) -> None:
    failing = Raises()
    served.predictors[1], served.baselines[1] = failing, Sum(2.0)
    served.deploy(live())
    assert served.infer([[1.0, 2.0]])[1]["outputs"][0]["data"] == [6.0]
    calls = failing.calls
    served.configure(EndpointSettings(fallback_value=0.25))
    assert failing.calls == calls
    assert served.infer([[1.0, 2.0]])[1]["outputs"][0]["data"] == [0.25]
    served.configure(EndpointSettings())
    assert served.infer([[1.0, 2.0]])[1]["outputs"][0]["data"] == [6.0]


def test_a_tester_of_the_live_version_is_told_that_its_fallback_answered(served: Served) -> None:
    served.predictors[1] = Raises()
    served.configure(EndpointSettings(fallback_value=0.3))
    served.deploy(live())
    status, answer = served.infer([[1.0, 2.0]], route="live")
    assert (status, answer["outputs"][0]["data"]) == (200, [0.3])
    assert answer["parameters"]["fallback"] is True
    (record,) = served.logged()
    assert isinstance(record, PredictionRecord)
    assert (record.roles, record.fallback) == (b"\6", True)
