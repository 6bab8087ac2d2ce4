"""scikit-learn: ``run.callback("sklearn")``, for estimators with and without callbacks.

From version 1.9 on some estimators call back while they fit::

    LogisticRegression().set_callbacks(run.callback("sklearn"))

Of any other, ``run.callback("sklearn").fitted(estimator, X, y)`` logs the same afterwards.
"""

from typing import Any

from sklearn.base import is_classifier
from sklearn.metrics import check_scoring

from setpoint.sdk.media.charts import ConfusionMatrix
from setpoint.sdk.media.table import Table
from setpoint.sdk.tracked import Tracked

_ROWS = 10_000  #: that scores while fitting are computed on; the first ones


class Callback:
    """Logs params, and scores on the training data at each iteration that is scored."""

    def __init__(self, run: Tracked, *, every: int = 1) -> None:
        self._run = run
        self._every = max(every, 1)

    def setup(self, estimator: Any, context: Any) -> None:  # noqa: ARG002 - scikit-learn's
        self._run.params(_params(estimator))

    def teardown(self, estimator: Any, context: Any) -> None:
        pass

    def on_fit_task_begin(self, estimator: Any, context: Any, **given: Any) -> None:
        pass

    def on_fit_task_end(
        self,
        estimator: Any,
        context: Any,
        *,
        X: Any = None,  # noqa: N803
        y: Any = None,
        metadata: Any = None,  # noqa: ARG002
        fitted_estimator: Any = None,
    ) -> None:
        iterates = context.parent is not None and context.parent.sequential_subtasks
        if iterates and fitted_estimator is not None and context.task_id % self._every == 0:
            score = check_scoring(estimator)(fitted_estimator, X[:_ROWS], _first(y))
            self._run.log({f"{type(estimator).__name__}/score": score}, step=context.task_id)

    def fitted(self, estimator: Any, X: Any, y: Any = None, *, name: str = "training") -> None:  # noqa: N803
        """Log a fitted estimator: params, score on (X, y), and what its kind has to tell.

        Classifiers have a confusion matrix, searches a table of their candidates, boosters
        and networks the curve of their loss.
        """
        self._run.params(_params(estimator))
        values: dict[str, Any] = {f"{name}/score": estimator.score(X, y)}
        if is_classifier(estimator) and y is not None:
            values[f"{name}/confusion"] = ConfusionMatrix(y, estimator.predict(X))
        if hasattr(estimator, "cv_results_"):
            values["candidates"] = Table(_candidates(estimator.cv_results_))
            self._run.tags(best_params=estimator.best_params_)
            values["best_score"] = estimator.best_score_
        self._run.log(values)
        for attribute, series in (
            ("train_score_", "loss"),
            ("loss_curve_", "loss"),
            ("validation_scores_", "validation/score"),
            ("validation_score_", "validation/score"),
        ):
            curve = getattr(estimator, attribute, None)
            for step, value in enumerate(() if curve is None else curve):
                self._run.log({series: value}, step=step)


def callback(run: Tracked, *, every: int = 1) -> Callback:
    """Return the callback; `every` so many iterations are scored."""
    return Callback(run, every=every)


def _params(estimator: Any) -> dict[str, Any]:
    own = {"estimator": type(estimator).__name__}
    return {**own, **{k: v for k, v in estimator.get_params().items() if not hasattr(v, "fit")}}


def _candidates(results: dict[str, Any]) -> dict[str, list[Any]]:
    kept = ("param_", "mean_", "std_", "rank_")
    return {
        name: [str(v) if name.startswith("param_") else v for v in values]
        for name, values in results.items()
        if name.startswith(kept)
    }


def _first(y: Any) -> Any:
    return None if y is None else y[:_ROWS]
