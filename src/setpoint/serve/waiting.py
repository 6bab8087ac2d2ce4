"""Waiting for what is done beside the event loop: as long as somebody waits, and there is time."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

#: ``() -> None`` once the client of this request has hung up; None: that shows by itself
gone: ContextVar[Callable[[], Awaitable[None]] | None] = ContextVar("gone", default=None)


class Gone(Exception):  # an outcome, not an error of ours
    """The client hung up before there was an answer."""


class Late(Exception):  # likewise
    """The time was over before there was an answer."""


async def outcome(work: "asyncio.Future[Any]", seconds: float | None) -> Any:
    """Return what comes of work; it is cancelled if nobody waits for it any more.

    Args:
        work: What is waited for.
        seconds: For how long; None: for ever.

    Raises:
        Gone: If the client of this request hangs up before.
        Late: If the time is over before.
    """
    hung_up = gone.get()
    leaving = None if hung_up is None else asyncio.ensure_future(hung_up())
    waited_for: set[asyncio.Future[Any]] = {work} if leaving is None else {work, leaving}
    try:
        done, _ = await asyncio.wait(
            waited_for, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        if leaving is not None:
            leaving.cancel()
        work.cancel()  # it is done, or nobody waits for it any more
    if work in done:
        return work.result()
    raise Gone if leaving in done else Late
