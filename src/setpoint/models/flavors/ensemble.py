"""Decision trees as an ONNX graph in double precision, decision for decision.

Why own converters: the general ones (onnxmltools, skl2onnx) write thresholds as float32, so
that rows near a threshold take the other branch, and skl2onnx never comes back from some
forests that saw missing values. Here every threshold, leaf and sum stays a double (operator
``ai.onnx.ml.TreeEnsemble`` version 5), so each decision is the library's own; what is
left is the order of a sum (1e-16).

A leaf of that operator has one number. Where leaves have one for each of several classes (forests),
the operator tells which leaf of each tree a row falls into, and a table what is in it: every tree
is walked once, whatever the number of classes, and the sum is in the order of the trees.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from setpoint.models.entities import SCORE, Output
from setpoint.models.flavors.errors import Uncompilable

ONE = "trees"  #: the name of a graph of trees with one output, which explanations read
_SEVERAL = "trees of several outputs"
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
    leaf: NDArray[np.float64]  #: or, with a number for every output, [leaves, outputs]
    output: int = 0  #: which output it adds to, where a leaf has one number


class Step(NamedTuple):
    """One operation on the sum of the leaves, with at most one constant."""

    operator: str
    constant: float | NDArray[np.float64] | None = None  #: an array has one for each output


def graph(
    trees: list[Tree],
    features: int,
    steps: Iterable[Step],
    *,
    single: bool = False,
    output: Output = SCORE,
) -> bytes:
    """Return the ONNX model of the sum of `trees`, followed by `steps`.

    Args:
        trees: At least one; summed in this order, all of one kind of leaves.
        features: Number of input columns.
        steps: What turns the sum into the output, e.g. ``Step("Sigmoid")``.
        single: Whether inputs are rounded to single precision first, as scikit-learn does.
        output: How the output is called, and its precision.

    Returns:
        A serialised model: input ``rows`` double [n, features], output ``score`` double
        [n, 1], or of the name and precision wanted [n, outputs].
    """
    if not trees:
        raise Uncompilable("it has no trees")
    trees = [tree if tree.feature.size else _stump(tree) for tree in trees]
    nodes, source = _rounded("rows") if single else ([], "rows")
    summed, constants, width = _summed(trees, source)
    nodes += summed
    last = nodes[-1].output[0]
    for at, step in enumerate(steps):
        inputs = [last]
        if step.constant is not None:
            inputs.append(f"constant_{at}")
            held = np.asarray(step.constant, np.float64)
            held = held.reshape(()) if held.size == 1 else held
            constants.append(numpy_helper.from_array(held, inputs[1]))
        last = f"step_{at}"
        nodes.append(helper.make_node(step.operator, inputs, [last]))
    to = TensorProto.DOUBLE
    if output.datatype == "FP32":
        to = TensorProto.FLOAT
        nodes.append(helper.make_node("Cast", [last], [output.name], to=to))
    else:
        nodes.append(helper.make_node("Identity", [last], [output.name]))
    model = helper.make_model(
        helper.make_graph(
            nodes,
            ONE if width == 1 else _SEVERAL,
            [helper.make_tensor_value_info("rows", TensorProto.DOUBLE, [None, features])],
            [helper.make_tensor_value_info(output.name, to, [None, width])],
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


def _summed(trees: list[Tree], source: str) -> tuple[list[NodeProto], list[TensorProto], int]:
    """Return what adds the leaves of `trees` up, its constants, and the number of sums."""
    if trees[0].leaf.ndim == 1:
        width = 1 + max(tree.output for tree in trees)
        return [_walked(trees, source, "sum", width)], [], width
    table = np.concatenate([tree.leaf for tree in trees])
    first = np.cumsum([0, *[len(tree.leaf) for tree in trees]])
    numbered = [
        tree._replace(leaf=np.arange(start, start + len(tree.leaf), dtype=np.float64), output=at)
        for at, (tree, start) in enumerate(zip(trees, first, strict=False))
    ]
    nodes = [
        _walked(numbered, source, "numbers", len(trees)),
        helper.make_node("Cast", ["numbers"], ["leaves"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "leaves"], ["given"], axis=0),  # [n, trees, outputs]
        helper.make_node("ReduceSum", ["given", "over"], ["sum"], keepdims=0),
    ]
    over = numpy_helper.from_array(np.array([1]), "over")
    return nodes, [numpy_helper.from_array(table, "table"), over], table.shape[1]


def _walked(trees: list[Tree], source: str, target: str, outputs: int) -> NodeProto:
    return helper.make_node(
        "TreeEnsemble",
        [source],
        [target],
        domain="ai.onnx.ml",
        n_targets=outputs,
        **_attributes(trees),
    )


def _attributes(trees: list[Tree]) -> dict[str, Any]:
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
        "leaf_targetids": np.repeat([tree.output for tree in trees], np.diff(leaves)).tolist(),
        "leaf_weights": numpy_helper.from_array(weights, "weights"),
    }


def _stump(tree: Tree) -> Tree:
    """Return a tree of one leaf as a split with that leaf on both sides."""
    zero = np.zeros(1, np.int64)
    both = np.repeat(tree.leaf[:1], 2, axis=0)
    return Tree(zero, np.zeros(1), zero == 0, ~zero, ~(zero + 1), both, tree.output)


def _child(child: NDArray[np.int64], split: int, leaf: int) -> NDArray[np.int64]:
    return np.where(child >= 0, child + split, ~child + leaf)


def _is_leaf(children: Iterable[NDArray[np.int64]]) -> list[int]:
    found: list[int] = (np.concatenate(list(children)) < 0).astype(np.int64).tolist()
    return found
