"""scikit-learn's trees, forests and boosted trees as an ONNX graph.

Sources: scikit-learn 1.9, ``sklearn/tree/_tree.pyx`` (inputs are rounded to single precision,
then compared with a double threshold), ``sklearn/ensemble/_forest.py`` (mean of the trees),
``_gb.py`` and ``_hist_gradient_boosting/predictor.py`` (sums, in double precision).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from setpoint.models.flavors.ensemble import Step, Tree, graph
from setpoint.models.flavors.errors import Uncompilable

_FAMILIES = ("sklearn.tree.", "sklearn.ensemble.")


def holds_trees(model: Any) -> bool:
    """Tell whether a model is, or has inside, one of scikit-learn's tree models."""
    inside = [model, *model.get_params(deep=True).values()]
    return any(type(each).__module__.startswith(_FAMILIES) for each in inside)


def convert(model: Any, features: int) -> bytes:
    """Return the ONNX model of a tree, forest or boosted trees.

    Raises:
        Uncompilable: For other models (and pipelines around these), several outputs, more
            than two classes, categorical splits and losses without a known output.
    """
    make = _MAKERS.get(type(model).__name__)
    if make is None or not type(model).__module__.startswith(_FAMILIES):
        raise Uncompilable(f"trees inside a {type(model).__name__} are not compiled")
    if len(getattr(model, "classes_", [0, 1])) != 2:
        raise Uncompilable("it has not two classes")
    try:
        return make(model, features)
    except AttributeError as error:  # another version of scikit-learn keeps them elsewhere
        raise Uncompilable(f"its trees could not be read: {error}") from None


def _single(model: Any, features: int) -> bytes:
    return graph([_tree(model)], features, [], single=True)


def _forest(model: Any, features: int) -> bytes:
    trees = [_tree(each) for each in model.estimators_]
    return graph(trees, features, [Step("Div", float(len(trees)))], single=True)


def _boosted(model: Any, features: int) -> bytes:
    start = model.init_
    if start != "zero" and not type(start).__name__.startswith("Dummy"):
        raise Uncompilable("it starts from another model")
    raw = float(model._raw_predict_init(np.zeros((1, features)))[0, 0])  # noqa: SLF001
    trees = [_tree(each, model.learning_rate) for each in model.estimators_[:, 0]]
    return graph(trees, features, [Step("Add", raw), *_output(model)], single=True)


def _histogram(model: Any, features: int) -> bytes:
    if np.any(model.is_categorical_):
        raise Uncompilable("it splits on categories")
    trees = [_nodes(each[0].nodes) for each in model._predictors]  # noqa: SLF001
    raw = float(np.ravel(model._baseline_prediction)[0])  # noqa: SLF001
    return graph(trees, features, [Step("Add", raw), *_output(model)])


def _output(model: Any) -> list[Step]:
    if hasattr(model, "classes_"):
        if model.loss != "log_loss":
            raise Uncompilable(f"the output of the loss {model.loss!r} is unknown")
        return [Step("Sigmoid")]
    return [Step("Exp")] if model.loss in {"poisson", "gamma"} else []


def _tree(estimator: Any, rate: float = 1.0) -> Tree:
    tree = estimator.tree_
    if tree.value.shape[1] != 1:
        raise Uncompilable("it has several outputs")
    return _indexed(
        left=tree.children_left,
        right=tree.children_right,
        is_leaf=tree.children_left < 0,
        columns=(tree.feature, tree.threshold, tree.missing_go_to_left),
        value=tree.value[:, 0, -1] * rate,
    )


def _nodes(nodes: Any) -> Tree:
    return _indexed(
        left=nodes["left"],
        right=nodes["right"],
        is_leaf=nodes["is_leaf"].astype(bool),
        columns=(nodes["feature_idx"], nodes["num_threshold"], nodes["missing_go_to_left"]),
        value=nodes["value"],
    )


def _indexed(left: Any, right: Any, is_leaf: Any, columns: Any, value: Any) -> Tree:
    """Return a tree from arrays with an entry a node, splits and leaves alike."""
    place = np.where(is_leaf, ~(np.cumsum(is_leaf) - 1), np.cumsum(~is_leaf) - 1)
    split = ~is_leaf
    feature, threshold, missing_left = columns
    return Tree(
        feature=feature[split].astype(np.int64),
        threshold=threshold[split].astype(np.float64),
        missing_left=missing_left[split].astype(np.bool_),
        left=place[left[split].astype(np.int64)],
        right=place[right[split].astype(np.int64)],
        leaf=value[is_leaf].astype(np.float64),
    )


_MAKERS: dict[str, Callable[[Any, int], bytes]] = {
    "DecisionTreeClassifier": _single,
    "DecisionTreeRegressor": _single,
    "ExtraTreeClassifier": _single,
    "ExtraTreeRegressor": _single,
    "RandomForestClassifier": _forest,
    "RandomForestRegressor": _forest,
    "ExtraTreesClassifier": _forest,
    "ExtraTreesRegressor": _forest,
    "GradientBoostingClassifier": _boosted,
    "GradientBoostingRegressor": _boosted,
    "HistGradientBoostingClassifier": _histogram,
    "HistGradientBoostingRegressor": _histogram,
}
