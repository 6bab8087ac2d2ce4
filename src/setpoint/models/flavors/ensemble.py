"""Decision trees as an ONNX graph in double precision, decision for decision.

Why own converters: the general ones (onnxmltools, skl2onnx) write thresholds as float32, so
that rows near a threshold take the other branch, and skl2onnx never comes back from some
forests that saw missing values. Here every threshold, leaf and sum stays a double (operator
``ai.onnx.ml.TreeEnsemble`` version 5), so each decision is the library's own; what is
left is the order of a sum (1e-16).
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from setpoint.models.flavors.errors import Uncompilable

_OPSET = {"": 18, "ai.onnx.ml": 5}
_IR_VERSION = 10


class Tree(NamedTuple):
    """One tree: arrays with an entry a split, and one with an entry a leaf.

    A row goes left where its value is at most the threshold.
    """

    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    missing_left: NDArray[np.bool_]  #: where a missing value goes
    left: NDArray[np.int64]  #: index of a split, or ~index of a leaf
    right: NDArray[np.int64]
    leaf: NDArray[np.float64]


class Step(NamedTuple):
    """One operation on the sum of the leaves, with at most one constant."""

    operator: str
    constant: float | None = None


def graph(
    trees: list[Tree], features: int, steps: Iterable[Step], *, single: bool = False
) -> bytes:
    """Return the ONNX model of the sum of `trees`, followed by `steps`.

    Args:
        trees: At least one; summed in this order.
        features: Number of input columns.
        steps: What turns the sum into the output, e.g. ``Step("Sigmoid")``.
        single: Whether inputs are rounded to single precision first, as scikit-learn does.

    Returns:
        A serialised model: input ``rows`` double [n, features], output ``score`` double
        [n, 1].
    """
    nodes, source = _rounded("rows") if single else ([], "rows")
    nodes.append(
        helper.make_node(
            "TreeEnsemble", [source], ["sum"], domain="ai.onnx.ml", **_attributes(trees)
        )
    )
    constants, last = [], "sum"
    for at, step in enumerate([*steps, Step("Identity")]):
        inputs = [last]
        if step.constant is not None:
            inputs.append(f"constant_{at}")
            constants.append(numpy_helper.from_array(np.array(step.constant), inputs[1]))
        last = f"step_{at}"
        nodes.append(helper.make_node(step.operator, inputs, [last]))
    nodes[-1].output[0] = "score"
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "trees",
            [helper.make_tensor_value_info("rows", TensorProto.DOUBLE, [None, features])],
            [helper.make_tensor_value_info("score", TensorProto.DOUBLE, [None, 1])],
            constants,
        ),
        producer_name="setpoint",
        ir_version=_IR_VERSION,
        opset_imports=[helper.make_opsetid(domain, n) for domain, n in _OPSET.items()],
    )
    return bytes(model.SerializeToString())


def _rounded(name: str) -> tuple[list[NodeProto], str]:
    return [
        helper.make_node("Cast", [name], ["single"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["single"], ["rounded"], to=TensorProto.DOUBLE),
    ], "rounded"


def _attributes(trees: list[Tree]) -> dict[str, Any]:
    if not trees:
        raise Uncompilable("it has no trees")
    trees = [tree if tree.feature.size else _stump(tree) for tree in trees]
    splits = np.cumsum([0, *[tree.feature.size for tree in trees]])
    leaves = np.cumsum([0, *[tree.leaf.size for tree in trees]])
    where = list(zip(trees, splits, leaves, strict=False))
    left = np.concatenate([_child(tree.left, at, leaf) for tree, at, leaf in where])
    right = np.concatenate([_child(tree.right, at, leaf) for tree, at, leaf in where])
    threshold = np.concatenate([tree.threshold for tree in trees])
    missing = np.concatenate([tree.missing_left for tree in trees])
    weights = np.concatenate([tree.leaf for tree in trees])
    modes = np.zeros(threshold.size, np.uint8)  # 0: BRANCH_LEQ
    return {
        "n_targets": 1,
        "aggregate_function": 1,  # SUM
        "post_transform": 0,
        "tree_roots": splits[:-1].tolist(),
        "nodes_featureids": np.concatenate([tree.feature for tree in trees]).tolist(),
        "nodes_modes": numpy_helper.from_array(modes, "modes"),
        "nodes_splits": numpy_helper.from_array(threshold, "splits"),
        "nodes_truenodeids": left.tolist(),
        "nodes_trueleafs": _is_leaf(tree.left for tree in trees),
        "nodes_falsenodeids": right.tolist(),
        "nodes_falseleafs": _is_leaf(tree.right for tree in trees),
        "nodes_missing_value_tracks_true": missing.astype(np.int64).tolist(),
        "leaf_targetids": [0] * int(leaves[-1]),
        "leaf_weights": numpy_helper.from_array(weights, "weights"),
    }


def _stump(tree: Tree) -> Tree:
    """Return a tree of one leaf as a split with that leaf on both sides."""
    zero = np.zeros(1, np.int64)
    both = np.repeat(tree.leaf[:1], 2)
    return Tree(zero, np.zeros(1), zero == 0, ~zero, ~(zero + 1), both)


def _child(child: NDArray[np.int64], split: int, leaf: int) -> NDArray[np.int64]:
    return np.where(child >= 0, child + split, ~child + leaf)


def _is_leaf(children: Iterable[NDArray[np.int64]]) -> list[int]:
    found: list[int] = (np.concatenate(list(children)) < 0).astype(np.int64).tolist()
    return found
