"""Our entities as MLflow's messages."""

from datetime import datetime
from math import isfinite
from typing import Any

from msgspec import Struct

from setpoint.core.clock import from_micros, to_micros
from setpoint.runs.entities import Dataset, Experiment, Link, Run, Status, Value, View
from setpoint.server.mlflow.errors import Refused
from setpoint.server.mlflow.wire import given, number, pairs

RUN_NAME = "mlflow.runName"
PARENT = "mlflow.parentRunId"
CONTEXT = "mlflow.data.context"
LOCATION = "setpoint.artifact_location"  #: tag of an experiment, and of a run, not shown
MODEL = "model"  #: kind of the links from runs to logged models

_VIEWS = {"ACTIVE_ONLY": View.ACTIVE, "DELETED_ONLY": View.DELETED, "ALL": View.ALL}
_VIEW_NUMBERS = {"1": "ACTIVE_ONLY", "2": "DELETED_ONLY", "3": "ALL"}
_STATUS_NUMBERS = {"1": "RUNNING", "2": "SCHEDULED", "3": "FINISHED", "4": "FAILED", "5": "KILLED"}


class Shown(Struct, frozen=True, gc=False):
    """A point of a metric."""

    key: str
    value: float | str
    timestamp: int  #: milliseconds
    step: int


def millis(at: datetime) -> int:
    """Return a time as MLflow counts it."""
    return to_micros(at) // 1000


def moment(at: int) -> datetime:
    """Return the time of MLflow's milliseconds."""
    return from_micros(at * 1000)


def view(value: str | int | None) -> View:
    """Return which lifecycles a search asks for, by its name or number."""
    name = _VIEW_NUMBERS.get(str(value), value) or "ACTIVE_ONLY"
    try:
        return _VIEWS[str(name)]
    except KeyError:
        raise Refused(f"Invalid view type '{value}'. It is one of {', '.join(_VIEWS)}.") from None


def status(value: str | int) -> Status:
    """Return a run's status by its name or number."""
    name = str(_STATUS_NUMBERS.get(str(value), value))
    try:
        return Status(name.lower())
    except ValueError:
        known = ", ".join(_STATUS_NUMBERS.values())
        raise Refused(f"Invalid run status '{value}'. It is one of {known}.") from None


def text(value: Value) -> str:
    """Return a param as MLflow keeps it."""
    return value if isinstance(value, str) else str(value)


def location(found: Experiment) -> str:
    """Return where the artifacts of an experiment's runs are."""
    return found.tags.get(LOCATION) or f"mlflow-artifacts:/{found.id}"


def experiment(found: Experiment) -> dict[str, Any]:
    return {
        "experiment_id": str(found.id),
        "name": found.name,
        "artifact_location": location(found),
        "lifecycle_stage": found.lifecycle,
        "last_update_time": millis(found.updated_at),
        "creation_time": millis(found.created_at),
        **given(tags=_shown(found.tags)),
    }


def artifact_uri(found: Run) -> str:
    """Return where a run's artifacts are: with us, unless its experiment said otherwise."""
    root = found.tags.get(LOCATION) or f"mlflow-artifacts:/{found.experiment_id}"
    return f"{root.rstrip('/')}/{found.id}/artifacts"


def info(found: Run) -> dict[str, Any]:
    return {
        "run_id": found.id,
        "run_uuid": found.id,
        "run_name": found.name,
        "experiment_id": str(found.experiment_id),
        "user_id": found.actor,
        "status": found.status.upper(),
        "start_time": millis(found.started_at),
        **({"end_time": millis(found.ended_at)} if found.ended_at else {}),
        "artifact_uri": artifact_uri(found),
        "lifecycle_stage": found.lifecycle,
    }


def run(found: Run) -> dict[str, Any]:
    metrics = [
        Shown(
            name,
            last.value if isfinite(last.value) else number(last.value),
            millis(last.at),
            last.step,
        )
        for name, last in found.latest.items()
    ]
    params = {name: text(value) for name, value in found.params.items()}
    return {
        "info": info(found),
        "data": given(metrics=metrics, params=pairs(params), tags=_shown(found.tags)),
        "inputs": given(
            dataset_inputs=[dataset(each) for each in found.datasets],
            model_inputs=[{"model_id": link.ref} for link in _models(found.uses)],
        ),
        "outputs": given(
            model_outputs=[
                {"model_id": link.ref, "step": link.step} for link in _models(found.outputs)
            ],
        ),
    }


def dataset(found: Dataset) -> dict[str, Any]:
    tags = {**({CONTEXT: found.context} if found.context else {}), **found.tags}
    described = {
        "name": found.name,
        "digest": found.digest,
        "source_type": found.source_type,
        "source": found.source,
        "schema": found.schema or None,
        "profile": found.profile or None,
    }
    return given(tags=pairs(tags), dataset=given(**described))


def _models(links: list[Link]) -> list[Link]:
    return [link for link in links if link.kind == MODEL]


def _shown(tags: dict[str, str]) -> list[dict[str, Any]]:
    return pairs({name: value for name, value in tags.items() if name != LOCATION})
