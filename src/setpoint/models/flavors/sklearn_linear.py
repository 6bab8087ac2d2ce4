"""scikit-learn's linear models as an ONNX graph of three operators in double precision.

skl2onnx writes eight (labels, both classes, normalisation), which cost more than the model:
one row of 30 features takes 5 µs instead of 11. With one output, serving reads this graph by
`models.linear` and needs no runtime for it; with several, the runtime is as fast.
"""

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from setpoint.models.entities import SCORE, Output
from setpoint.models.linear import CONSTANT, GRAPH, SIGMOID, WEIGHTS

_SEVERAL = "linear of several outputs"
#: Their output is Xw + b, for the classifier through a sigmoid or, of several classes, a softmax.
_MODELS = frozenset(
    {"LogisticRegression", "LinearRegression", "Ridge", "Lasso", "ElasticNet", "RidgeCV", "LassoCV"}
)


def is_linear(model: Any) -> bool:
    """Tell whether a model is one that `convert` knows."""
    return type(model).__name__ in _MODELS and type(model).__module__.startswith(
        "sklearn.linear_model."
    )


def convert(model: Any, features: int, output: Output = SCORE) -> bytes:
    """Return the ONNX model: input ``rows`` double [n, features], output double [n, outputs]."""
    weights = np.ascontiguousarray(np.atleast_2d(model.coef_).T, dtype=np.float64)
    width = weights.shape[1]
    constant = np.broadcast_to(np.asarray(model.intercept_, np.float64).reshape(-1), width)
    nodes = [
        helper.make_node("MatMul", ["rows", WEIGHTS], ["product"]),
        helper.make_node("Add", ["product", CONSTANT], ["sum"]),
        helper.make_node(_link(model, width), ["sum"], [output.name]),
    ]
    graph = helper.make_graph(
        nodes,
        GRAPH if width == 1 else _SEVERAL,
        [helper.make_tensor_value_info("rows", TensorProto.DOUBLE, [None, features])],
        [helper.make_tensor_value_info(output.name, TensorProto.DOUBLE, [None, width])],
        [
            numpy_helper.from_array(weights, WEIGHTS),
            numpy_helper.from_array(constant, CONSTANT),
        ],
    )
    made = helper.make_model(
        graph,
        producer_name="setpoint",
        ir_version=10,
        opset_imports=[helper.make_opsetid("", 18)],
    )
    return bytes(made.SerializeToString())


def _link(model: Any, width: int) -> str:
    if not hasattr(model, "classes_"):
        return "Identity"
    return SIGMOID if width == 1 else "Softmax"
