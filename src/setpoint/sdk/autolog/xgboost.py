"""XGBoost: ``xgb.train(…, callbacks=[run.callback("xgboost")])``, or of an estimator."""

from typing import Any

from xgboost.callback import TrainingCallback

from setpoint.sdk.tracked import Tracked


class Callback(TrainingCallback):
    """Logs each evaluation as ``DATASET/METRIC`` at its round."""

    def __init__(self, run: Tracked) -> None:
        super().__init__()
        self._run = run

    def after_iteration(self, model: Any, epoch: int, evals_log: dict[str, Any]) -> bool:  # noqa: ARG002 - XGBoost's
        values = {}
        for dataset, metrics in evals_log.items():
            for metric, history in metrics.items():
                last = history[-1]
                name = f"{dataset}/{metric}"
                if isinstance(last, tuple):  # of cross-validation
                    values[name], values[f"{name}/stdv"] = last
                else:
                    values[name] = last
        self._run.log(values, step=epoch)
        return False

    def after_training(self, model: Any) -> Any:
        best = getattr(model, "best_iteration", None) if _stopped_early(model) else None
        if best is not None:
            self._run.tags({"best_iteration": best})
        return model


def _stopped_early(model: Any) -> bool:
    return hasattr(model, "attr") and model.attr("best_iteration") is not None


def callback(run: Tracked) -> Callback:
    """Return the callback."""
    return Callback(run)
