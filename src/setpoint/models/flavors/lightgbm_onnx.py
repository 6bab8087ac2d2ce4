"""LightGBM's text model as an ONNX graph in double precision, decision for decision.

Why an own converter: the general ones (onnxmltools) write thresholds as float32, so that
rows near a threshold take the other branch. Here every threshold, leaf and sum stays a
double (operator ``ai.onnx.ml.TreeEnsemble`` version 5), so each decision is LightGBM's own
for float64 and float32 input alike; what differs is the order of the last sum (1e-15 a
tree). The text is parsed directly: no LightGBM is imported, 200 trees take a few ms.

Source of the format and of the rules for missing values: LightGBM 4,
``include/LightGBM/tree.h`` (``NumericalDecision``) and ``src/io/tree.cpp``.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from setpoint.models.flavors.errors import Uncompilable

_CATEGORICAL, _DEFAULT_LEFT = 1, 2  #: bits of a node's decision_type
_NONE, _ZERO = 0, 1  #: its missing type, from bit 2 on; 2 is NaN
_OPSET = {"": 18, "ai.onnx.ml": 5}
_IR_VERSION = 10


class _Tree(NamedTuple):
    """The arrays of one tree: one entry a split, or one a leaf."""

    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    decision: NDArray[np.int64]
    left: NDArray[np.int64]  #: split index, or ~leaf index
    right: NDArray[np.int64]
    leaf: NDArray[np.float64]


def convert(text: str, features: int) -> bytes:
    """Return the ONNX model of a LightGBM text model.

    Args:
        text: What ``Booster.model_to_string()`` returns.
        features: Number of input columns.

    Returns:
        A serialised model: input ``rows`` double [n, features], output ``score`` double
        [n, 1], which is what ``Booster.predict`` returns (binary: the probability).

    Raises:
        Uncompilable: For more than one class, categorical splits, linear trees,
            ``zero_as_missing`` and objectives without a known output transformation.
    """
    head, _, rest = text.partition("\nTree=")
    header = _fields(head)
    if int(header.get("num_class", "1")) != 1:
        raise Uncompilable("it has more than two classes")
    body, _, _ = rest.partition("\nend of trees")
    blocks = body.split("\nTree=") if body else []
    trees = [_tree(_fields(block)) for block in blocks]
    weights = 1.0 / max(len(trees), 1) if "average_output" in header else 1.0
    operators, constants = _output(header.get("objective", ""))
    ensemble = helper.make_node(
        "TreeEnsemble",
        ["rows"],
        ["raw"],
        domain="ai.onnx.ml",
        **_attributes(trees, weights),
    )
    graph = helper.make_graph(
        [ensemble, *operators],
        "lightgbm",
        [helper.make_tensor_value_info("rows", TensorProto.DOUBLE, [None, features])],
        [helper.make_tensor_value_info("score", TensorProto.DOUBLE, [None, 1])],
        [
            numpy_helper.from_array(np.array(value), name)
            for name, value in constants.items()
        ],
    )
    model = helper.make_model(
        graph,
        producer_name="setpoint",
        ir_version=_IR_VERSION,
        opset_imports=[helper.make_opsetid(domain, n) for domain, n in _OPSET.items()],
    )
    return bytes(model.SerializeToString())


def thresholds(text: str) -> list[tuple[int, float]]:
    """Return every (feature index, threshold) of a LightGBM text model, once each."""
    _, _, body = text.partition("\nTree=")
    found: set[tuple[int, float]] = set()
    for block in body.partition("\nend of trees")[0].split("\nTree="):
        tree = _tree(_fields(block))
        found.update(zip(tree.feature.tolist(), tree.threshold.tolist(), strict=True))
    return sorted(found)


def _fields(block: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in block.split("\n"))
    return {key: value for key, _, value in pairs if key}


def _tree(block: dict[str, str]) -> _Tree:
    if block.get("is_linear", "0") != "0":
        raise Uncompilable("its leaves are linear models")

    def whole(name: str) -> NDArray[np.int64]:
        return np.array(block.get(name, "").split(), dtype=np.int64)

    def real(name: str) -> NDArray[np.float64]:
        return np.array(block.get(name, "").split(), dtype=np.float64)

    decision = whole("decision_type")
    if np.any(decision & _CATEGORICAL):
        raise Uncompilable("it splits on categories")
    if np.any((decision >> 2) & 3 == _ZERO):
        raise Uncompilable("it was trained with zero_as_missing")
    return _Tree(
        whole("split_feature"),
        real("threshold"),
        decision,
        whole("left_child"),
        whole("right_child"),
        real("leaf_value"),
    )


def _stump(tree: _Tree) -> _Tree:
    """Return a tree of one leaf as a split with that leaf on both sides."""
    zero = np.zeros(1, np.int64)
    both = np.repeat(tree.leaf[:1], 2)
    return _Tree(zero, np.zeros(1), zero, ~zero, ~(zero + 1), both)


def _attributes(trees: list[_Tree], weight: float) -> dict[str, Any]:
    if not trees:
        raise Uncompilable("it has no trees")
    trees = [tree if tree.feature.size else _stump(tree) for tree in trees]
    splits = np.cumsum([0, *[tree.feature.size for tree in trees]])
    leaves = np.cumsum([0, *[tree.leaf.size for tree in trees]])
    where = list(zip(trees, splits, leaves, strict=False))
    left = np.concatenate([_child(tree.left, at, leaf) for tree, at, leaf in where])
    right = np.concatenate([_child(tree.right, at, leaf) for tree, at, leaf in where])
    threshold = np.concatenate([tree.threshold for tree in trees])
    decision = np.concatenate([tree.decision for tree in trees])
    # Where training saw no missing value, LightGBM reads NaN as 0 when it predicts.
    to_left = np.where(
        (decision >> 2) & 3 == _NONE, threshold >= 0.0, decision & _DEFAULT_LEFT != 0
    )
    weights = np.concatenate([tree.leaf for tree in trees]) * weight
    modes = np.zeros(threshold.size, np.uint8)  # 0: BRANCH_LEQ
    return {
        "n_targets": 1,
        "aggregate_function": 1,  # SUM
        "post_transform": 0,
        "tree_roots": splits[:-1].tolist(),
        "nodes_featureids": np.concatenate([tree.feature for tree in trees]).tolist(),
        "nodes_modes": numpy_helper.from_array(modes, "modes"),
        "nodes_splits": numpy_helper.from_array(threshold, "splits"),
        "nodes_truenodeids": np.abs(left).tolist(),
        "nodes_trueleafs": _is_leaf(trees, "left").tolist(),
        "nodes_falsenodeids": np.abs(right).tolist(),
        "nodes_falseleafs": _is_leaf(trees, "right").tolist(),
        "nodes_missing_value_tracks_true": to_left.astype(np.int64).tolist(),
        "leaf_targetids": [0] * int(leaves[-1]),
        "leaf_weights": numpy_helper.from_array(weights, "weights"),
    }


def _child(child: NDArray[np.int64], split: int, leaf: int) -> NDArray[np.int64]:
    return np.where(child >= 0, child + split, ~child + leaf)


def _is_leaf(trees: list[_Tree], side: str) -> NDArray[np.int64]:
    children = np.concatenate([getattr(tree, side) for tree in trees])
    return (children < 0).astype(np.int64)


def _output(objective: str) -> tuple[list[Any], dict[str, float]]:
    """Return the operators from ``raw`` to ``score``, and their constants."""
    name, *settings = objective.split() or [""]
    options = dict(each.partition(":")[::2] for each in settings)
    if name in {"binary", "cross_entropy"}:
        scale = {"scale": float(options.get("sigmoid") or 1.0)}
        return [
            helper.make_node("Mul", ["raw", "scale"], ["scaled"]),
            helper.make_node("Sigmoid", ["scaled"], ["score"]),
        ], scale
    if name in {"poisson", "gamma", "tweedie"}:
        return [helper.make_node("Exp", ["raw"], ["score"])], {}
    if name in _IDENTITY and "sqrt" not in settings:
        return [helper.make_node("Identity", ["raw"], ["score"])], {}
    raise Uncompilable(f"the output of the objective {objective!r} is unknown")


_IDENTITY = {"regression", "regression_l1", "huber", "fair", "quantile", "mape"}
