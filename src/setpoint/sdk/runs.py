"""``setpoint.run``: tracking from a script or a notebook."""

import atexit
import os
import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from setpoint.config import settings
from setpoint.core.ids import new_id
from setpoint.errors import Invalid
from setpoint.sdk import capture as captured
from setpoint.sdk.capture import Capture
from setpoint.sdk.folders import Meta
from setpoint.sdk.recorder import Recorder
from setpoint.sdk.records import Begin
from setpoint.sdk.resume import last_steps
from setpoint.sdk.spool import now
from setpoint.sdk.tracked import Tracked
from setpoint.sdk.values import flat, texts, value_of

_ID = re.compile(r"[A-Za-z0-9_.:-]{1,256}")


def run(  # noqa: PLR0913 - what one may say of a run, by name
    name: str,
    *,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, Any] | None = None,
    id: str | None = None,  # noqa: A002 - what it is called everywhere else
    rank: int = 0,
    parent: str | None = None,
    home: Path | str | None = None,
    url: str | None = None,
    offline: bool | None = None,
    capture: Capture | None = None,
) -> Tracked:
    """Begin a run: records what is logged, its code and environment, and its machine.

    Use it in a ``with`` block, which ends it (as failed, with the text of an exception), or
    call `Tracked.finish`. A process that ends without either ends its runs as well.

    What is logged goes to a file of this machine first, and is delivered from there in the
    background: to the store in `home`, or to a server. A process that is killed loses
    nothing that it logged; the next run in this home delivers it.

    Args:
        name: The experiment: what groups runs that answer one question.
        params: What the run is started with.
        tags: Words about it.
        id: To go on with a run (its steps are counted on), or to write to one from several
            processes.
        rank: Of this process among them. Rank 0 begins and ends the run; the others add to
            it, and their machine's series are below ``system/rankN/``.
        parent: Id of the run it is nested in.
        home: Folder of the store; by default ``.setpoint`` or ``$SETPOINT_HOME``.
        url: Of a server that takes the run instead; by default ``$SETPOINT_URL``.
        offline: Deliver nothing until ``setpoint sync``; by default ``$SETPOINT_OFFLINE``.
        capture: What is captured without being asked for.

    Raises:
        Invalid: If the name is empty or the id has other characters than letters, digits
            and ``_ - . :``.
        Unavailable: If the home cannot be written.

    Example:
        >>> with run("experiment", params={"leaves": 31}) as tracked:  # doctest: +SKIP
        ...     tracked.log(loss=0.5, step=1)
    """
    if not name.strip():
        raise Invalid("a run needs the name of its experiment", hint="e.g. sp.run('churn')")
    if id is not None and not _ID.fullmatch(id):
        raise Invalid(f"{id!r:.300} is no id of a run", hint="letters, digits and _ - . :")
    where = settings(home, url=url, offline=offline)
    capture = capture or Capture()
    meta = Meta(run=id or new_id("run"), experiment=name, url=where.url, offline=where.offline)
    begin = Begin(
        experiment=name,
        at=now(),
        params={key: value_of(value) for key, value in flat(params or {}, ".").items()},
        tags={**(captured.tags(capture) if rank == 0 else {}), **texts(tags or {})},
        parent=parent,
        joins=rank > 0,
    )
    recorder = Recorder(meta, where)
    steps = last_steps(recorder) if id is not None and rank == 0 else None
    tracked = Tracked(recorder, begin, rank=rank, capture=capture, steps=steps)
    _end_with_process(tracked)
    return tracked


_running: set[Tracked] = set()
_failure: list[str] = []


def _end_with_process(tracked: Tracked) -> None:
    _watch_process()
    _running.difference_update([other for other in _running if other.over])
    _running.add(tracked)


@cache
def _watch_process() -> None:
    before = sys.excepthook

    def note(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        _failure[:] = [f"{kind.__name__}: {error}".rstrip(": ")]
        before(kind, error, trace)

    sys.excepthook = note
    atexit.register(_finish_all)
    os.register_at_fork(after_in_child=_running.clear)  # they are their parent's to end


def _finish_all() -> None:
    for tracked in list(_running):
        tracked.finish(error=_failure[0] if _failure else "")
