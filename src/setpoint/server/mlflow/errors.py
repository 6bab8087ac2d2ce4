"""What MLflow's clients are told when something fails: their codes, their texts."""

import json
from typing import Any

import msgspec
from starlette.responses import Response

from setpoint.errors import (
    Conflict,
    Denied,
    Invalid,
    NotFound,
    SetpointError,
    Unavailable,
    UserCodeFailed,
)

INVALID = "INVALID_PARAMETER_VALUE"
MISSING = "RESOURCE_DOES_NOT_EXIST"
EXISTS = "RESOURCE_ALREADY_EXISTS"
STATE = "INVALID_STATE"
NO_ENDPOINT = "ENDPOINT_NOT_FOUND"
UNSUPPORTED = "NOT_IMPLEMENTED"
INTERNAL = "INTERNAL_ERROR"

#: HTTP status of each code, as MLflow's own server has them; 500 for what is not listed.
STATUS = {
    "BAD_REQUEST": 400,
    INVALID: 400,
    EXISTS: 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    MISSING: 404,
    NO_ENDPOINT: 404,
    "RESOURCE_CONFLICT": 409,
    "REQUEST_LIMIT_EXCEEDED": 429,
    STATE: 500,
    UNSUPPORTED: 501,
    "TEMPORARILY_UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}

_CODES: dict[type[SetpointError], str] = {
    NotFound: MISSING,
    Conflict: INVALID,
    Invalid: INVALID,
    Denied: "PERMISSION_DENIED",
    Unavailable: "TEMPORARILY_UNAVAILABLE",
    UserCodeFailed: INTERNAL,
}


class Refused(SetpointError):
    """A request that MLflow's server would refuse, with the code its clients look at."""

    def __init__(self, message: str, code: str = INVALID) -> None:
        super().__init__(message)
        self.mlflow_code = code


def missing(parameter: str) -> Refused:
    """Return the refusal of a request that lacks a parameter."""
    return Refused(f"Missing value for required parameter '{parameter}'.{_HELP}")


def wrong_type(parameter: str, value: Any) -> Refused:
    """Return the refusal of a value that is not of its parameter's type."""
    kind = type(value).__name__
    return Refused(f"{described(parameter, value)}  Hint: Value was of type '{kind}'.{_HELP}")


def described(parameter: str, value: Any) -> str:
    """Return how MLflow begins to speak of a value that is wrong."""
    shown = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return f"Invalid value {shown} for parameter '{parameter}' supplied:"


def response(error: SetpointError) -> Response:
    """Return the answer that MLflow's clients raise as their own exception."""
    code = code_of(error)
    body = msgspec.json.encode({"error_code": code, "message": _text(error)})
    return Response(body, STATUS.get(code, 500), media_type="application/json")


def code_of(error: SetpointError) -> str:
    """Return MLflow's code for an error of ours."""
    if isinstance(error, Refused):
        return error.mlflow_code
    return next((_CODES[c] for c in type(error).__mro__ if c in _CODES), INTERNAL)


def _text(error: SetpointError) -> str:
    return "; ".join(part for part in (error.message, error.where, error.hint) if part)


_HELP = " See the API docs for more information about request parameters."
