"""CatBoost's JSON model as an ONNX graph.

Source of the format and its rules: CatBoost 1.2, ``json_model_helpers.cpp`` below
``catboost/libs/model/model_export``, and the page on its JSON format: trees are oblivious (one
split a level), a row's bit is set where its value, in single precision, is *greater than* the
border; bit `i` of a leaf's number is that of split `i`. A missing value counts as below or above
all borders, as its feature's ``nan_value_treatment`` says.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from setpoint.models.entities import SCORE, Output
from setpoint.models.flavors.ensemble import Step, Tree, graph
from setpoint.models.flavors.errors import Uncompilable

_IDENTITY = frozenset(
    {"RMSE", "MAE", "Quantile", "MAPE", "Huber", "LogCosh", "Lq", "Expectile", "MultiRMSE"}
)
_SIGMOID = frozenset({"Logloss", "CrossEntropy", "MultiClassOneVsAll"})


def convert(model: bytes, features: int, output: Output = SCORE) -> bytes:
    """Return the ONNX model of what ``save_model(…, format="json")`` wrote.

    Raises:
        Uncompilable: For categories, texts, trees that are not oblivious and losses without a
            known output transformation.
    """
    said = msgspec.json.decode(model)
    about = said["features_info"]
    if about.get("categorical_features") or about.get("text_features") or "ctr_data" in said:
        raise Uncompilable("it takes categories or texts")
    if "oblivious_trees" not in said:
        raise Uncompilable("its trees are not oblivious")
    scale, bias = said.get("scale_and_bias", [1.0, [0.0]])
    columns = {each["feature_index"]: each for each in about["float_features"]}
    trees = [_tree(each, columns) for each in said["oblivious_trees"]]
    steps = [Step("Mul", float(scale)), Step("Add", np.ravel(bias))]
    loss = said["model_info"]["params"]["loss_function"]["type"]
    return graph(trees, features, [*steps, *_output(loss)], single=True, output=output)


def _tree(tree: Mapping[str, Any], columns: Mapping[int, Mapping[str, Any]]) -> Tree:
    splits = tree["splits"] or []
    leaves = np.array(tree["leaf_values"], dtype=np.float64)  # the numbers of a leaf together
    if leaves.size != 2 ** len(splits):
        leaves = leaves.reshape(2 ** len(splits), -1)
    if any(split.get("split_type", "FloatFeature") != "FloatFeature" for split in splits):
        raise Uncompilable("it splits on categories")
    depth = len(splits)
    # The last split is at the root: then a path's bits, from the root down, are a leaf's number.
    levels = [splits[depth - 1 - level] for level in range(depth)]
    feature, threshold, missing, left, right = [], [], [], [], []
    for level, split in enumerate(levels):
        column = columns[split["float_feature_index"]]
        first = 2**level - 1
        for at in range(2**level):
            feature.append(column["flat_feature_index"])
            threshold.append(split["border"])
            missing.append(column.get("nan_value_treatment", "AsIs") != "AsTrue")
            child = (first + 2**level) + 2 * at
            last = level == depth - 1
            left.append(~(2 * at) if last else child)
            right.append(~(2 * at + 1) if last else child + 1)
    return Tree(
        feature=np.array(feature, dtype=np.int64),
        threshold=np.array(threshold, dtype=np.float32).astype(np.float64),
        missing_left=np.array(missing, dtype=np.bool_),
        left=np.array(left, dtype=np.int64),
        right=np.array(right, dtype=np.int64),
        leaf=leaves,
    )


def _output(loss: str) -> list[Step]:
    if loss == "MultiClass":
        return [Step("Softmax")]
    if loss in _SIGMOID:
        return [Step("Sigmoid")]
    if loss in {"Poisson", "Tweedie"}:
        return [Step("Exp")]
    if loss in _IDENTITY:
        return []
    raise Uncompilable(f"the output of the loss {loss!r} is unknown")
