"""MLflow's registered scorers: versions of text that its client can make a scorer of."""

import uuid
from typing import Any

from msgspec import field

from setpoint.core.operations import Context
from setpoint.server.mlflow import checks, errors, experiments, render
from setpoint.server.mlflow.errors import Refused
from setpoint.server.mlflow.evaluation import store
from setpoint.server.mlflow.evaluation.store import Scorer
from setpoint.server.mlflow.routing import Call, Endpoint
from setpoint.server.mlflow.wire import Message, given


class Register(Message, frozen=True, kw_only=True):
    experiment_id: str = ""
    name: str = ""
    serialized_scorer: str = ""


class ListAll(Message, frozen=True, kw_only=True):
    experiment_id: str = ""
    experiment_ids: list[str] = field(default_factory=list)


class One(Message, frozen=True, kw_only=True):
    experiment_id: str = ""
    name: str = ""
    version: int | None = None


def register(call: Call, ask: Register) -> dict[str, Any]:
    """Keep a scorer as the next version of its name."""
    experiment = experiments.active(call, ask.experiment_id)

    def make(ctx: Context) -> Scorer:
        known = store.scorers(ctx.conn, [experiment.id], ask.name)
        version = known[-1].version + 1 if known else 1
        scorer_id = known[-1].id if known else uuid.uuid4().hex
        content = ask.serialized_scorer
        made = Scorer(experiment.id, ask.name, version, scorer_id, content, ctx.now)
        store.add_scorer(ctx.conn, made)
        return made

    made = call.write(make)
    return {
        "version": made.version,
        "scorer_id": made.id,
        "experiment_id": str(made.experiment_id),
        "name": made.name,
        "serialized_scorer": made.content,
        "creation_time": render.millis(made.created_at),
    }


def ls(call: Call, ask: ListAll) -> dict[str, Any]:
    """List scorers, each by its newest version."""
    names = [ask.experiment_id] if ask.experiment_id else ask.experiment_ids
    numbers = [checks.experiment_id(each) for each in names]
    found = call.read(lambda conn: store.scorers(conn, numbers))
    newest = {(each.experiment_id, each.name): each for each in found}
    return given(scorers=[shown(each) for each in newest.values()])


def versions(call: Call, ask: One) -> dict[str, Any]:
    return given(scorers=[shown(each) for each in _found(call, ask)])


def get(call: Call, ask: One) -> dict[str, Any]:
    return {"scorer": shown(_found(call, ask)[-1])}


def delete(call: Call, ask: One) -> dict[str, Any]:
    found = _found(call, ask)[0]
    call.write(
        lambda ctx: store.drop_scorer(ctx.conn, found.experiment_id, found.name, ask.version)
    )
    return {}


def shown(scorer: Scorer) -> dict[str, Any]:
    """Return a version of a scorer as MLflow's message."""
    return {
        "experiment_id": scorer.experiment_id,
        "scorer_name": scorer.name,
        "scorer_version": scorer.version,
        "serialized_scorer": scorer.content,
        "creation_time": render.millis(scorer.created_at),
        "scorer_id": scorer.id,
    }


def _found(call: Call, ask: One) -> list[Scorer]:
    number = checks.experiment_id(ask.experiment_id)
    found = call.read(lambda conn: store.scorers(conn, [number], ask.name))
    if ask.version is not None:
        found = [each for each in found if each.version == ask.version]
    if not found:
        which = "" if ask.version is None else f" and version {ask.version}"
        text = f"Scorer with name '{ask.name}'{which} not found for experiment {number}."
        raise Refused(text, errors.MISSING)
    return found


_AT = "/mlflow/scorers"
_ONE = ("experiment_id", "name")

ENDPOINTS = (
    Endpoint("POST", f"{_AT}/register", Register, register, _ONE, version="3.0"),
    Endpoint("GET", f"{_AT}/list", ListAll, ls, version="3.0"),
    Endpoint("GET", f"{_AT}/versions", One, versions, _ONE, version="3.0"),
    Endpoint("GET", f"{_AT}/get", One, get, _ONE, version="3.0"),
    Endpoint("DELETE", f"{_AT}/delete", One, delete, _ONE, version="3.0"),
)
