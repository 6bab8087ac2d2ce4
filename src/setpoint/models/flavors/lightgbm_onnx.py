"""LightGBM's text model as an ONNX graph.

The text is parsed directly: LightGBM is not imported, and 200 trees take 20 ms.

Source of the format and of the rules for missing values: LightGBM 4,
``include/LightGBM/tree.h`` (``NumericalDecision``), ``src/io/tree.cpp`` and ``src/c_api.cpp``
(values up to ``kZeroThreshold`` are left out of a row, so read as 0).
"""

import numpy as np
from numpy.typing import NDArray

from setpoint.models.entities import SCORE, Output
from setpoint.models.flavors.ensemble import Step, Tree, graph
from setpoint.models.flavors.errors import Uncompilable

_CATEGORICAL, _DEFAULT_LEFT = 1, 2  #: bits of a node's decision_type
_NONE, _ZERO = 0, 1  #: its missing type, from bit 2 on; 2 is NaN
_TINY = float(np.float32(1e-35))  #: kZeroThreshold: what is no larger, LightGBM reads as 0
_IDENTITY = frozenset({"regression", "regression_l1", "huber", "fair", "quantile", "mape"})


def convert(text: str, features: int, output: Output = SCORE) -> bytes:
    """Return the ONNX model of a LightGBM text model.

    Args:
        text: What ``Booster.model_to_string()`` returns.
        features: Number of input columns.
        output: How its output is to be called.

    Returns:
        A serialised model: input ``rows`` double [n, features], output double [n, 1] or, of
        several classes, [n, classes], which is what ``Booster.predict`` returns (binary: the
        probability).

    Raises:
        Uncompilable: For categorical splits, linear trees, ``zero_as_missing`` and objectives
            without a known output transformation.
    """
    head, _, rest = text.partition("\nTree=")
    header = _fields(head)
    classes = int(header.get("num_tree_per_iteration", "1"))
    body, _, _ = rest.partition("\nend of trees")
    blocks = body.split("\nTree=") if body else []
    trees = [_tree(_fields(block), at % classes) for at, block in enumerate(blocks)]
    steps = _output(header.get("objective", ""))
    if "average_output" in header:
        steps = [Step("Div", float(len(trees) // classes)), *steps]
    return graph(trees, features, steps, output=output)


def _fields(block: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in block.split("\n"))
    return {key: value for key, _, value in pairs if key}


def _tree(block: dict[str, str], output: int) -> Tree:
    if block.get("is_linear", "0") != "0":
        raise Uncompilable("its leaves are linear models")

    def whole(name: str) -> NDArray[np.int64]:
        return np.array(block.get(name, "").split(), dtype=np.int64)

    def real(name: str) -> NDArray[np.float64]:
        return np.array(block.get(name, "").split(), dtype=np.float64)

    decision, threshold = whole("decision_type"), real("threshold")
    missing = (decision >> 2) & 3
    if np.any(decision & _CATEGORICAL):
        raise Uncompilable("it splits on categories")
    if np.any(missing == _ZERO):
        raise Uncompilable("it was trained with zero_as_missing")
    return Tree(
        feature=whole("split_feature"),
        threshold=_around_zero(threshold),
        # Where training saw no missing value, LightGBM reads NaN as 0 when it predicts.
        missing_left=np.where(missing == _NONE, threshold >= 0.0, decision & _DEFAULT_LEFT != 0),
        left=whole("left_child"),
        right=whole("right_child"),
        leaf=real("leaf_value"),
        output=output,
    )


def _around_zero(threshold: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return thresholds that decide on tiny values as LightGBM does, which reads them as 0."""
    below = (threshold >= -_TINY) & (threshold < 0)
    above = (threshold >= 0) & (threshold <= _TINY)
    moved = np.where(above, _TINY, threshold)
    return np.where(below, np.nextafter(-_TINY, -np.inf), moved)


def _output(objective: str) -> list[Step]:
    name, *settings = objective.split() or [""]
    options = dict(each.partition(":")[::2] for each in settings)
    if name == "multiclass":
        return [Step("Softmax")]
    if name in {"binary", "cross_entropy", "multiclassova"}:
        return [Step("Mul", float(options.get("sigmoid") or 1.0)), Step("Sigmoid")]
    if name in {"poisson", "gamma", "tweedie"}:
        return [Step("Exp")]
    if name in _IDENTITY and "sqrt" not in settings:
        return []
    raise Uncompilable(f"the output of the objective {objective!r} is unknown")
