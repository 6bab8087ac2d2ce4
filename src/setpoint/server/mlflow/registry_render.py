"""Models and versions as MLflow's messages."""

from typing import Any

from setpoint.models.registry.entities import Entry, Model
from setpoint.server.mlflow.render import millis
from setpoint.server.mlflow.wire import given, pairs

_STATUS = {
    "ready": "READY",
    "pending": "PENDING_REGISTRATION",
    "failed": "FAILED_REGISTRATION",
}


def model(found: Model, latest: list[Entry]) -> dict[str, Any]:
    """Return a model with the newest version of each stage."""
    return given(
        name=found.model,
        creation_timestamp=millis(found.created_at),
        last_updated_timestamp=millis(found.updated_at),
        description=found.description or None,
        latest_versions=[version(each) for each in latest],
        tags=pairs(found.tags),
        aliases=[
            {"alias": alias, "version": str(number)} for alias, number in found.aliases.items()
        ],
    )


def version(entry: Entry) -> dict[str, Any]:
    """Return a version. One that was trained here is found under ``models:/NAME/NUMBER``."""
    found = entry.version
    return given(
        name=found.model,
        version=str(found.number),
        creation_timestamp=millis(found.created_at),
        last_updated_timestamp=millis(found.updated_at or found.created_at),
        current_stage=found.stage,
        description=found.description,
        source=source(entry),
        run_id=found.run_id,
        status=_STATUS[found.status],
        status_message=found.status_message or None,
        tags=pairs(entry.tags),
        run_link=found.run_link,
        aliases=entry.aliases,
        model_id=found.logged_model or None,
    )


def source(entry: Entry) -> str:
    """Return where a version's files are."""
    found = entry.version
    return found.source or f"setpoint:/models/{found.model}/{found.number}"
