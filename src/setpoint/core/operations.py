"""An operation is one use case: a typed command in, a typed result out, one transaction.

Operations are declared once and carried everywhere by data: the JSON API, the OpenAPI
document and the remote client are read off the same objects. What people use (commands,
pages) calls operations too, but is written by hand.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar, get_type_hints

from sqlalchemy import Connection

from setpoint.config import Settings

C = TypeVar("C")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Context:
    """What an operation may touch: a transaction, who is asking, the time, the store."""

    conn: Connection
    actor: str
    now: datetime
    settings: Settings


@dataclass(frozen=True, slots=True)
class Operation(Generic[C, R]):
    name: str  #: ``noun.verb``, the path of its endpoint
    needs: str  #: the permission it asks for, ``noun:verb``
    command: type[C]
    result: type[R]
    run: Callable[[Context, C], R]
    summary: str
    #: The same for many commands in one transaction: an answer or an error for each.
    many: Callable[[Context, list[Any]], list[Any]] | None = None

    def __call__(self, ctx: Context, cmd: C) -> R:
        return self.run(ctx, cmd)

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return self.needs.endswith(":read")


class Backend(Protocol):
    """Where operations run: in this process, or behind HTTP."""

    def call(self, op: Operation[C, R], cmd: C) -> R: ...


def operation(
    name: str,
    *,
    needs: str,
    many: Callable[[Context, list[Any]], list[Any]] | None = None,
) -> Callable[[Callable[[Context, C], R]], Operation[C, R]]:
    """Declare the decorated ``(ctx, cmd) -> result`` function as an operation."""

    def declare(run: Callable[[Context, C], R]) -> Operation[C, R]:
        hints = get_type_hints(run)
        summary = (run.__doc__ or "").partition("\n")[0]
        return Operation(name, needs, hints["cmd"], hints["return"], run, summary, many)

    return declare
