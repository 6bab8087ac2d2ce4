"""What people and judges say of traces: kept as sent, with ids and times of ours."""

from typing import Any

from msgspec import field

from setpoint.core.operations import Context
from setpoint.server.mlflow import errors
from setpoint.server.mlflow.errors import Refused
from setpoint.server.mlflow.routing import Call, Endpoint, Nothing
from setpoint.server.mlflow.traces import reported, store
from setpoint.server.mlflow.wire import Message


class Said(Message, frozen=True, kw_only=True):
    assessment: dict[str, Any] = field(default_factory=dict)
    update_mask: str = ""  #: names of the fields to change, separated by commas


def create(call: Call, ask: Said) -> dict[str, Any]:
    """Keep an assessment; one that it overrides is no longer valid."""
    trace = reported.find(call, call.path["trace_id"])
    overridden = str(ask.assessment.get("overrides", ""))

    def keep(ctx: Context) -> dict[str, Any]:
        if overridden:
            _validate(ctx, trace.id, overridden, valid=False)
        content = reported.completed(ask.assessment, trace.id, ctx.now)
        store.put_assessment(ctx.conn, trace.id, content, ctx.now)
        return content

    return {"assessment": call.write(keep)}


def get(call: Call, _: Nothing) -> dict[str, Any]:
    return {"assessment": call.read(lambda conn: _found(call, conn))}


def update(call: Call, ask: Said) -> dict[str, Any]:
    """Change the fields that the mask names; metadata are added to those there are."""
    names = [_snake(name) for name in ask.update_mask.split(",") if name]

    def change(ctx: Context) -> dict[str, Any]:
        content = _found(call, ctx.conn)
        for name in names or list(ask.assessment):
            value = ask.assessment.get(name)
            if name == "metadata":
                value = {**content.get("metadata", {}), **(value or {})}
            if value is not None and name not in {"assessment_id", "trace_id"}:
                content[name] = value
        content["last_update_time"] = reported.instant(ctx.now)
        store.change_assessment(ctx.conn, call.path["assessment_id"], content)
        return content

    return {"assessment": call.write(change)}


def delete(call: Call, _: Nothing) -> dict[str, Any]:
    """Delete an assessment; what it overrode is valid again."""

    def drop(ctx: Context) -> None:
        content = _found(call, ctx.conn)
        store.drop_assessment(ctx.conn, content["assessment_id"])
        if overridden := content.get("overrides"):
            _validate(ctx, call.path["trace_id"], overridden, valid=True)

    call.write(drop)
    return {}


def _found(call: Call, conn: Any) -> dict[str, Any]:
    trace_id, assessment_id = call.path["trace_id"], call.path["assessment_id"]
    found = store.find_assessment(conn, trace_id, assessment_id)
    if found is None:
        text = f"Assessment with ID '{assessment_id}' not found for trace '{trace_id}'"
        raise Refused(text, errors.MISSING)
    return found


def _validate(ctx: Context, trace_id: str, assessment_id: str, *, valid: bool) -> None:
    found = store.find_assessment(ctx.conn, trace_id, assessment_id)
    if found is not None:
        content = {**found, "valid": valid}
        store.change_assessment(ctx.conn, assessment_id, content)


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name.strip())


_ALL = "/mlflow/traces/{trace_id}/assessments"
_ONE = f"{_ALL}/{{assessment_id}}"

ENDPOINTS = (
    Endpoint("POST", _ALL, Said, create, version="3.0"),
    Endpoint("GET", _ONE, Nothing, get, version="3.0"),
    Endpoint("PATCH", _ONE, Said, update, version="3.0"),
    Endpoint("DELETE", _ONE, Nothing, delete, version="3.0"),
)
