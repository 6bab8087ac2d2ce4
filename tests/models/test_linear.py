"""What `linear` computes must be what ONNX Runtime computes of the same bytes."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, load_model_from_string
from sklearn.linear_model import LinearRegression, LogisticRegression

from setpoint.models import linear
from setpoint.models.flavors import sklearn_linear

RNG = np.random.default_rng(5)
X = RNG.normal(size=(300, 6))


@pytest.fixture(scope="module", params=["classifier", "regressor"])
def data(request: pytest.FixtureRequest) -> bytes:
    if request.param == "classifier":
        return sklearn_linear.convert(LogisticRegression(C=50).fit(X, X[:, 0] > 0), 6)
    return sklearn_linear.convert(LinearRegression().fit(X, X @ np.arange(6.0)), 6)


@pytest.mark.parametrize("scale", [1.0, 100.0, 1e6])
def test_scores_are_those_of_the_runtime(data: bytes, scale: float) -> None:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    rows = X * scale
    [expected] = session.run(["score"], {"rows": rows})
    score = linear.read(data)
    assert score is not None
    np.testing.assert_allclose(score(rows), expected[:, 0], rtol=1e-11, atol=1e-15)
    alone = np.concatenate([score(rows[i : i + 1]) for i in range(50)])
    np.testing.assert_allclose(alone, expected[:50, 0], rtol=1e-11, atol=1e-15)


def test_the_sigmoid_neither_overflows_nor_saturates_early() -> None:
    score = linear.scorer(np.array([1.0]), 0.0, sigmoid=True)
    for rows in ([[-745.0]], [[-745.0], [745.0]]):
        assert 0 < score(np.array(rows))[0] < 1e-300
    assert score(np.array([[40.0]]))[0] <= 1.0


def test_no_rows_have_no_scores(data: bytes) -> None:
    score = linear.read(data)
    assert score is not None
    assert score(np.empty((0, 6))).shape == (0,)


@pytest.mark.parametrize("change", ["operator", "constant", "output"])
def test_another_graph_is_not_taken_for_a_line(data: bytes, change: str) -> None:
    model = load_model_from_string(data)
    graph = model.graph
    if change == "operator":
        graph.node[0].op_type = "Gemm"
    elif change == "constant":
        graph.initializer[1].name = "other"
    else:
        graph.node.append(helper.make_node("Tanh", ["score"], ["more"]))
        graph.output.append(helper.make_tensor_value_info("more", TensorProto.DOUBLE, [None, 1]))
    assert linear.read(model.SerializeToString()) is None
