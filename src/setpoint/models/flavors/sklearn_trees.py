"""scikit-learn's trees, forests and boosted trees as an ONNX graph.

Sources: scikit-learn 1.9, ``sklearn/tree/_tree.pyx`` (inputs are rounded to single precision,
then compared with a double threshold), ``sklearn/ensemble/_forest.py`` (mean of the trees),
``_gb.py`` and ``_hist_gradient_boosting/predictor.py`` (sums, in double precision; of several
classes, with a tree a class and iteration).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from setpoint.models.entities import SCORE, Output
from setpoint.models.flavors.ensemble import Step, Tree, graph
from setpoint.models.flavors.errors import Uncompilable

_FAMILIES = ("sklearn.tree.", "sklearn.ensemble.")


def holds_trees(model: Any) -> bool:
    """Tell whether a model is, or has inside, one of scikit-learn's tree models."""
    inside = [model, *model.get_params(deep=True).values()]
    return any(type(each).__module__.startswith(_FAMILIES) for each in inside)


def convert(model: Any, features: int, output: Output = SCORE) -> bytes:
    """Return the ONNX model of a tree, forest or boosted trees.

    Raises:
        Uncompilable: For other models (and pipelines around these), classifiers of one class or
            of several targets, categorical splits and losses without a known output.
    """
    make = _MAKERS.get(type(model).__name__)
    if make is None or not type(model).__module__.startswith(_FAMILIES):
        raise Uncompilable(f"a {type(model).__name__} is not compiled")
    if len(getattr(model, "classes_", [0, 1])) < 2:
        raise Uncompilable("it knows one class")
    try:
        return make(model, features, output)
    except AttributeError as error:  # another version of scikit-learn keeps them elsewhere
        raise Uncompilable(f"its trees could not be read: {error}") from None


def _single(model: Any, features: int, output: Output) -> bytes:
    return graph([_leaves(model)], features, [], single=True, output=output)


def _forest(model: Any, features: int, output: Output) -> bytes:
    trees = [_leaves(each) for each in model.estimators_]
    return graph(trees, features, [Step("Div", float(len(trees)))], single=True, output=output)


def _boosted(model: Any, features: int, output: Output) -> bytes:
    start = model.init_
    if start != "zero" and not type(start).__name__.startswith("Dummy"):
        raise Uncompilable("it starts from another model")
    raw = model._raw_predict_init(np.zeros((1, features)))[0]  # noqa: SLF001
    trees = [
        _tree(each, each.tree_.value[:, 0, 0] * model.learning_rate, at)
        for stage in model.estimators_
        for at, each in enumerate(stage)
    ]
    return graph(trees, features, _output(model, raw), single=True, output=output)


def _histogram(model: Any, features: int, output: Output) -> bytes:
    if np.any(model.is_categorical_):
        raise Uncompilable("it splits on categories")
    trees = [
        _nodes(each.nodes, at)
        for stage in model._predictors  # noqa: SLF001
        for at, each in enumerate(stage)
    ]
    raw = np.ravel(model._baseline_prediction)  # noqa: SLF001
    return graph(trees, features, _output(model, raw), output=output)


def _output(model: Any, raw: Any) -> list[Step]:
    """Return what follows the sums of trees; `raw` [outputs] is what they start from."""
    start = Step("Add", raw)
    if hasattr(model, "classes_"):
        if model.loss != "log_loss":
            raise Uncompilable(f"the output of the loss {model.loss!r} is unknown")
        return [start, Step("Softmax" if len(raw) > 1 else "Sigmoid")]
    return [start, Step("Exp")] if model.loss in {"poisson", "gamma"} else [start]


def _leaves(estimator: Any) -> Tree:
    """Return a tree with what it predicts at its leaves: a number, or one for each output."""
    value = estimator.tree_.value  # [nodes, targets, classes]
    if not hasattr(estimator, "classes_"):
        value = value[:, :, 0]
    elif value.shape[1] != 1:
        raise Uncompilable("it tells classes of several targets")
    else:
        value = value[:, 0, :] if value.shape[2] > 2 else value[:, 0, 1:]
    return _tree(estimator, value[:, 0] if value.shape[1] == 1 else value)


def _tree(estimator: Any, value: Any, output: int = 0) -> Tree:
    tree = estimator.tree_
    return _indexed(
        left=tree.children_left,
        right=tree.children_right,
        is_leaf=tree.children_left < 0,
        columns=(tree.feature, tree.threshold, tree.missing_go_to_left),
        value=value,
        output=output,
    )


def _nodes(nodes: Any, output: int) -> Tree:
    return _indexed(
        left=nodes["left"],
        right=nodes["right"],
        is_leaf=nodes["is_leaf"].astype(bool),
        columns=(nodes["feature_idx"], nodes["num_threshold"], nodes["missing_go_to_left"]),
        value=nodes["value"],
        output=output,
    )


def _indexed(left: Any, right: Any, is_leaf: Any, columns: Any, value: Any, output: int) -> Tree:
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
        output=output,
    )


_MAKERS: dict[str, Callable[[Any, int, Output], bytes]] = {
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
