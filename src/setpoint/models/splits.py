"""Where a compiled model's trees split: its most delicate inputs."""

import numpy as np
import onnx
from onnx import numpy_helper

#: By operator: the attributes with the split values (first that is there) and the columns.
_VALUES = ("nodes_splits", "nodes_values_as_tensor", "nodes_values")
_TREES = frozenset({"TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor"})


def splits(data: bytes) -> list[tuple[int, float]]:
    """Return every (input index, threshold) of the trees of an ONNX model, once each.

    Only trees that read the model's one input, as it is or cast, are looked at: behind a
    scaler or an encoder a threshold is no input value.
    """
    graph = onnx.load_model_from_string(data).graph
    if len(graph.input) != 1:
        return []
    direct = {graph.input[0].name}
    found: set[tuple[int, float]] = set()
    for node in graph.node:
        if node.op_type in {"Cast", "Identity"} and node.input[0] in direct:
            direct.update(node.output)
        if node.op_type in _TREES and node.input[0] in direct:
            found.update(_of(node))
    return sorted(found)


def _of(node: onnx.NodeProto) -> set[tuple[int, float]]:
    attributes = {each.name: each for each in node.attribute}
    columns = np.array(attributes["nodes_featureids"].ints)
    name = next(each for each in _VALUES if each in attributes)
    held = attributes[name]
    values = (
        np.array(held.floats, np.float32)
        if name == "nodes_values"
        else numpy_helper.to_array(held.t)
    ).astype(np.float64)
    if "nodes_modes" in attributes and attributes["nodes_modes"].strings:
        branch = np.array([mode != b"LEAF" for mode in attributes["nodes_modes"].strings])
        columns, values = columns[branch], values[branch]
    return set(zip(columns.tolist(), values.tolist(), strict=True))
