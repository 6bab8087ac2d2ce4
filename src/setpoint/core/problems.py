"""Errors on the wire (RFC 9457 problem documents), the same class on both ends."""

from msgspec import Struct

from setpoint import errors
from setpoint.errors import SetpointError

_PREFIX = "urn:setpoint:error:"


class Problem(Struct, frozen=True, kw_only=True):
    type: str  #: a URN that ends with the error class's `code`
    title: str  #: the kind of failure, the same for every error of the class
    status: int  #: HTTP status
    detail: str = ""  #: what happened
    where: str = ""
    hint: str = ""  #: what to do


def to_problem(error: SetpointError, status: int) -> Problem:
    """Return `error` as a document."""
    return Problem(
        type=_PREFIX + error.code,
        title=(type(error).__doc__ or "").partition("\n")[0].partition(";")[0].rstrip("."),
        status=status,
        detail=error.message,
        where=error.where,
        hint=error.hint,
    )


def to_error(problem: Problem) -> SetpointError:
    """Return the error that `problem` tells of: of the same class where it is known."""
    error = BY_CODE.get(problem.type.removeprefix(_PREFIX), SetpointError)
    return error(problem.detail or problem.title, where=problem.where, hint=problem.hint)


BY_CODE: dict[str, type[SetpointError]] = {
    cls.code: cls
    for cls in vars(errors).values()
    if isinstance(cls, type) and issubclass(cls, SetpointError)
}
