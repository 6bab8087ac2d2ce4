"""XGBoost's JSON model as an ONNX graph.

Source of the format and its rules: XGBoost 3, ``doc/model.schema``, ``src/tree/io_utils.h`` and
``include/xgboost/tree_model.h``: inputs and thresholds are single precision, a row goes left where
its value is *less than* the threshold, a missing one where ``default_left`` says. XGBoost adds
leaves in single precision, in an order of its own; here they are added in double precision, so
that outputs differ by some 1e-7, which parity then judges.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from setpoint.models.entities import SCORE, Output
from setpoint.models.flavors.ensemble import Step, Tree, graph
from setpoint.models.flavors.errors import Uncompilable

_LOGISTIC = frozenset({"binary:logistic", "reg:logistic"})
_IDENTITY = frozenset(
    {
        "reg:squarederror",
        "reg:absoluteerror",
        "reg:pseudohubererror",
        "reg:quantileerror",
        "binary:logitraw",
    }
)
_EXPONENTIAL = frozenset({"count:poisson", "reg:gamma", "reg:tweedie"})


def convert(model: bytes, features: int, output: Output = SCORE) -> bytes:
    """Return the ONNX model of what ``Booster.save_raw("json")`` gave, see `ensemble.graph`.

    Raises:
        Uncompilable: For linear boosters and dart, trees of several outputs, categorical splits
            and objectives without a known output transformation.
    """
    learner = msgspec.json.decode(model)["learner"]
    booster, about = learner["gradient_booster"], learner["learner_model_param"]
    if booster["name"] != "gbtree":
        raise Uncompilable(f"its booster is {booster['name']}")
    held = booster["model"]
    # Which class (or target) a tree adds to.
    outputs = held["tree_info"]
    trees = [_tree(each, at) for each, at in zip(held["trees"], outputs, strict=True)]
    objective = learner["objective"]["name"]
    start = np.array(str(about["base_score"]).strip("[]").split(","), dtype=np.float64)
    return graph(trees, features, _output(objective, start), single=True, output=output)


def _tree(tree: Mapping[str, Any], output: int) -> Tree:
    if int(tree["tree_param"].get("size_leaf_vector", 1)) > 1:
        raise Uncompilable("its trees have several outputs each")
    if tree.get("categories") or any(tree.get("split_type") or ()):
        raise Uncompilable("it splits on categories")
    left = np.array(tree["left_children"], dtype=np.int64)
    right = np.array(tree["right_children"], dtype=np.int64)
    is_leaf = left < 0
    place = np.where(is_leaf, ~(np.cumsum(is_leaf) - 1), np.cumsum(~is_leaf) - 1)
    values = np.array(tree["split_conditions"], dtype=np.float32)
    split = ~is_leaf
    # Less than a number of single precision is at most the one before it.
    threshold = np.nextafter(values[split], np.float32(-np.inf)).astype(np.float64)
    return Tree(
        feature=np.array(tree["split_indices"], dtype=np.int64)[split],
        threshold=threshold,
        missing_left=np.array(tree["default_left"], dtype=np.bool_)[split],
        left=place[left[split]],
        right=place[right[split]],
        leaf=values[is_leaf].astype(np.float64),
        output=output,
    )


def _output(objective: str, start: NDArray[np.float64]) -> list[Step]:
    """Return what follows the sum; `start` is told after the transformation, not before."""
    if objective == "multi:softprob":
        return [Step("Add", start), Step("Softmax")]
    if objective in _LOGISTIC:
        return [Step("Add", np.log(start / (1 - start))), Step("Sigmoid")]
    if objective in _EXPONENTIAL:
        return [Step("Add", np.log(start)), Step("Exp")]
    if objective in _IDENTITY:
        return [Step("Add", start)]
    raise Uncompilable(f"the output of the objective {objective!r} is unknown")
