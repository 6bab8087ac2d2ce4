"""Explanations over HTTP, in the words of both protocols."""

import asyncio
import json
import threading
from typing import Any

import numpy as np
import pytest
from tests.serve.conftest import Served
from tests.serve.made import Answers, Input, Raises, Sum, canary, live, shadow

from setpoint.serve import explaining

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

OTHERS = np.array([[1.0, 2.0], [3.0, 4.0]])


@pytest.fixture
def served(served: Served) -> Served:
    served.backgrounds = {1: OTHERS, 2: OTHERS}
    return served


def tensors(rows: Any, **more: Any) -> dict[str, Any]:
    shape = [len(rows), len(rows[0])]
    return {"inputs": [{"name": "x", "datatype": "FP64", "shape": shape, "data": rows}], **more}


def outputs(answer: Any) -> dict[str, Any]:
    return {each["name"]: each for each in answer["outputs"]}


def test_v2_answers_with_tensors_that_add_up_to_the_score(served: Served) -> None:
    served.deploy(live())
    status, answer = served.post("/v2/models/m/explain", tensors([[5.0, 5.0], [2.0, 3.0]], id="7"))
    assert status == 200, answer
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("m", "1", "7")
    found = outputs(answer)
    assert found["input_names"]["data"] == ["a", "b"]
    assert (found["shap_values"]["shape"], found["shap_values"]["datatype"]) == ([2, 2], "FP64")
    assert found["shap_values"]["data"] == [3.0, 2.0, 0.0, 0.0]
    assert found["base_value"]["data"] == [5.0, 5.0]
    assert found["score"]["data"] == [10.0, 5.0]
    assert found["method"]["data"] == ["exact: all coalitions"] * 2
    assert found["standard_error"]["data"] == [0.0] * 4
    assert served.infer([[5.0, 5.0]])[1]["outputs"][0]["data"] == [10.0]


def test_v2_answers_only_the_outputs_that_are_asked_for(served: Served) -> None:
    served.deploy(live())
    asked = tensors([[5.0, 5.0]], outputs=[{"name": "shap_values"}])
    _, answer = served.post("/v2/models/m/explain", asked)
    assert list(outputs(answer)) == ["shap_values"]
    asked = tensors([[5.0, 5.0]], outputs=[{"name": "shape_values"}])
    status, answer = served.post("/v2/models/m/explain", asked)
    assert status == 400
    assert "there is no output 'shape_values'" in answer["error"]


def test_v1_answers_an_object_a_row(served: Served) -> None:
    served.deploy(live())
    for instance in ([5.0, 5.0], {"a": 5.0, "b": 5.0}):
        status, answer = served.post("/v1/models/m:explain", {"instances": [instance]})
        assert status == 200, answer
        (one,) = answer["explanations"]
        assert one == {
            "shap_values": {"a": 3.0, "b": 2.0},
            "base_value": 5.0,
            "score": 10.0,
            "method": "exact: all coalitions",
        }


def test_estimates_say_how_far_they_may_be_off(served: Served) -> None:
    inputs = [Input(f"x{at}") for at in range(12)]
    served.predictors[1] = Sum(inputs=inputs)
    served.backgrounds[1] = np.random.default_rng(1).normal(size=(50, 12))
    served.deploy(live())
    _, answer = served.post("/v1/models/m:explain", {"instances": [[1.0] * 12]})
    (one,) = answer["explanations"]
    assert one["method"] == "estimate: permutations"
    assert one["standard_error"].keys() == one["shap_values"].keys()
    assert sum(one["shap_values"].values()) + one["base_value"] == pytest.approx(12.0)


def test_versions_are_addressed_as_for_predictions(served: Served) -> None:
    served.deploy(live(1), canary(2, weight=0.5))
    for path, factor in (
        ("/v2/models/m/explain", 1),
        ("/v2/models/m/versions/1/explain", 1),
        ("/v2/models/m/versions/2/explain", 10),
    ):
        _, answer = served.post(path, tensors([[5.0, 5.0]]))
        assert outputs(answer)["shap_values"]["data"] == pytest.approx([3.0 * factor, 2.0 * factor])
    for path, factor in (
        ("/v1/models/m/versions/2:explain", 10),
        ("/v1/models/m/labels/live:explain", 1),
        ("/v1/models/m/labels/canary:explain", 10),
    ):
        _, answer = served.post(path, {"instances": [[5.0, 5.0]]})
        assert answer["explanations"][0]["score"] == 10 * factor
    status, answer = served.post("/v2/models/m/versions/9/explain", tensors([[5.0, 5.0]]))
    assert status == 404
    assert "version 9" in answer["error"]


def test_a_shadow_can_be_explained_too(served: Served) -> None:
    served.deploy(live(1), shadow(2))
    _, answer = served.post("/v2/models/m/versions/2/explain", tensors([[5.0, 5.0]]))
    assert outputs(answer)["score"]["data"] == [100.0]


def test_texts_and_missing_values_are_explained(served: Served) -> None:
    served.predictors[1] = Sum(inputs=[Input("a"), Input("city", "BYTES")])
    served.backgrounds[1] = {
        "a": np.array([1.0, 3.0]),
        "city": np.array(["Rome", None], dtype=object),
    }
    served.deploy(live())
    _, answer = served.post("/v1/models/m:explain", {"instances": [{"a": 5, "city": "Zürich"}]})
    (one,) = answer["explanations"]
    assert one["shap_values"] == {"a": 3.0, "city": 4.0}
    _, answer = served.post("/v1/models/m:explain", {"instances": [{"a": None, "city": "Bern"}]})
    (one,) = answer["explanations"]
    assert one["score"] is None
    assert one["shap_values"] == {"a": None, "city": None}


def test_an_explanation_is_no_prediction(served: Served) -> None:
    served.deploy(live(1), shadow(2))
    served.post("/v2/models/m/explain", tensors([[5.0, 5.0]] * 3))
    served.post("/v1/models/m:explain", {"instances": [[5.0]]})
    served.sync()
    assert served.logged() == []
    told = served.get("/metrics")[1]
    assert "setpoint_requests_total{" not in told
    assert 'setpoint_explanations_total{model="m",version="1",status="200"} 1' in told
    assert 'setpoint_explained_rows_total{model="m",version="1"} 3' in told


def test_a_version_without_a_background_is_a_conflict_with_a_hint(served: Served) -> None:
    served.backgrounds.clear()
    served.deploy(live())
    for path, asked in (
        ("/v2/models/m/explain", tensors([[5.0, 5.0]])),
        ("/v1/models/m:explain", {"instances": [[5.0, 5.0]]}),
    ):
        status, answer = served.post(path, asked)
        assert status == 409
        assert answer == {"error": "m/1 has no background; train it again"}
    assert 'status="409"} 2' in served.get("/metrics")[1]


def test_what_cannot_be_explained_says_why_in_the_protocols_shape(served: Served) -> None:
    served.deploy(live())
    many = [[1.0, 2.0]] * (explaining.MOST_ROWS + 1)
    for path, asked, status, said in (
        ("/v2/models/m/explain", tensors(many), 400, "send up to 32"),
        ("/v1/models/m:explain", {"instances": many}, 400, "send up to 32"),
        ("/v1/models/m:explain", {"instances": [[1.0]]}, 400, "send 2 values a row"),
        ("/v1/models/m:explain", {}, 400, "send either instances"),
        ("/v2/models/m/explain", {}, 400, "inputs"),
        ("/v2/models/n/explain", tensors([[1.0, 2.0]]), 404, "no model 'n'"),
        ("/v1/models/n:explain", {"instances": [[1.0, 2.0]]}, 404, "no model 'n'"),
    ):
        found, answer = served.post(path, asked)
        assert (found, list(answer)) == (status, ["error"]), answer
        assert said in answer["error"]
    assert served.get("/v2/models/m/explain")[0] == 405


def test_no_rows_have_no_explanations(served: Served) -> None:
    served.deploy(live())
    assert served.post("/v1/models/m:explain", {"instances": []}) == (200, {"explanations": []})


def test_a_model_that_fails_is_told_and_predictions_go_on(served: Served) -> None:
    served.predictors[1] = Raises()
    served.deploy(live())
    status, answer = served.post("/v2/models/m/explain", tensors([[5.0, 5.0]]))
    assert status == 500
    assert "ZeroDivisionError: no luck" in answer["error"]
    assert (
        'setpoint_explanations_total{model="m",version="1",status="500"} 1'
        in (served.get("/metrics")[1])
    )


def test_a_version_that_takes_more_inputs_says_so(served: Served) -> None:
    served.predictors[2] = Sum(inputs=[Input("a"), Input("b"), Input("c")])
    served.backgrounds[2] = np.ones((2, 3))
    served.deploy(live(1), canary(2))
    status, answer = served.post("/v2/models/m/versions/2/explain", tensors([[5.0, 5.0]]))
    assert status == 400
    assert "needs the inputs c" in answer["error"]
    _, answer = served.post("/v2/models/m/versions/2/explain", tensors([[5.0, 5.0, 2.0]]))
    assert outputs(answer)["shap_values"]["data"] == [4.0, 4.0, 1.0]
    assert outputs(answer)["input_names"]["data"] == ["a", "b", "c"]


def test_a_version_that_is_swapped_is_explained_by_what_serves_now(served: Served) -> None:
    served.deploy(live(1))
    ask = ("/v2/models/m/explain", tensors([[5.0, 5.0]]))
    assert outputs(served.post(*ask)[1])["score"]["data"] == [10.0]
    served.deploy(live(2))
    assert outputs(served.post(*ask)[1])["score"]["data"] == [100.0]
    assert list(served.app.explaining._known) == [("m", 2)]


class Held(Sum):
    """Answers, when it explains, only once it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may, self.began = threading.Event(), threading.Event()

    def predict(self, rows: Any) -> Any:
        if threading.current_thread().name.startswith("explaining"):
            self.began.set()
            assert self.may.wait(5)
        return super().predict(rows)


def test_when_many_ask_the_next_is_told_to_come_again_and_predictions_go_on(
    served: Served,
) -> None:
    held = Held()
    served.predictors[1] = held
    served.deploy(live())
    body = json.dumps(tensors([[5.0, 5.0]])).encode()

    async def crowd() -> tuple[Any, Any, list[Any]]:
        waiting = [
            asyncio.ensure_future(served._ask("POST", "/v2/models/m/explain", body, ()))
            for _ in range(explaining.MOST_AT_ONCE)
        ]
        assert await asyncio.to_thread(held.began.wait, 20)
        refused = await served._ask("POST", "/v2/models/m/explain", body, ())
        predicted = await served._ask("POST", "/v2/models/m/infer", body, ())
        held.may.set()
        return refused, predicted, await asyncio.gather(*waiting)

    refused, predicted, answered = served._runner.run(crowd())
    assert refused[0] == 429
    assert refused[2]["retry-after"] == "1"
    assert "error" in json.loads(refused[1])
    assert predicted[0] == 200
    assert [one[0] for one in answered] == [200] * explaining.MOST_AT_ONCE


def test_a_model_that_answers_nonsense_is_told(served: Served) -> None:
    served.predictors[1] = Answers([[1.0]])
    served.deploy(live())
    assert served.post("/v2/models/m/explain", tensors([[5.0, 5.0]]))[0] == 500
