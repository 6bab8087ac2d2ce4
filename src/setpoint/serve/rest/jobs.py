"""Jobs over HTTP: an infer request whose answer is fetched later."""

import re
from typing import Any
from urllib.parse import quote, unquote

from msgspec.structs import replace

from setpoint.core.clock import from_micros
from setpoint.errors import Conflict, SetpointError, Unavailable
from setpoint.serve import problems, v2, v2_binary
from setpoint.serve.answering import Answering
from setpoint.serve.exchange import Reply, Request
from setpoint.serve.jobs.entities import State
from setpoint.serve.jobs.entry import Entry
from setpoint.serve.jobs.queue import Jobs
from setpoint.serve.rest import open_inference
from setpoint.serve.rest.contract import Protocol, failed, nowhere
from setpoint.serve.siblings import PASSED, Siblings

_JOBS = re.compile(
    r"/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?/jobs"
    r"(?:/(?P<job>[^/]+)(?:/(?P<what>result|cancel))?)?/?"
)
_ELSEWHERE = 421  #: Misdirected Request: another process has what is asked for
_AGAIN = ((b"retry-after", b"%d" % problems.RETRY_AFTER),)


async def _answer(serving: Answering, request: Request) -> Reply:
    asked, jobs = _JOBS.fullmatch(request.path), serving.jobs
    if asked is None:
        raise nowhere(request)
    if jobs is None:
        return await elsewhere(serving, request)
    model, name, way = unquote(asked["model"]), asked["job"], (request.method, asked["what"])
    if name is None:
        if request.method == "POST":
            return await _take(serving, jobs, request, model, asked["version"])
        if request.method == "GET":
            return Reply(v2.encode({"jobs": [told(jobs, one) for one in jobs.of(model)]}))
        raise nowhere(request)
    entry = jobs.get(model, unquote(name))
    if way == ("GET", "result"):
        return await _result(jobs, entry)
    if way in {("DELETE", None), ("POST", "cancel")}:
        await jobs.cancel(entry)
    elif way != ("GET", None):
        raise nowhere(request)
    return Reply(v2.encode(told(jobs, entry)))


async def elsewhere(serving: Answering, request: Request) -> Reply:
    """Have the process answer that runs the jobs of this server, which this one does not.

    Raises:
        Conflict: If none does.
        Unavailable: If none does just now.
    """
    if serving.siblings is None:
        raise Conflict(
            "jobs are not taken here: this server has no folder to keep them in",
            hint="start it with SETPOINT_SERVE_JOBS=DIR, a folder it may write to",
        )
    return await _passed_on(serving.siblings, request)


async def _passed_on(siblings: Siblings, request: Request) -> Reply:
    """Have the process answer that runs the jobs of this server."""
    if request.header(PASSED):
        return Reply(b"", _ELSEWHERE)
    found = await siblings.passed_on(request, _ELSEWHERE)
    if found is None:
        raise Unavailable("no process runs the jobs just now", hint="send it again in a second")
    return found


async def _take(
    serving: Answering, jobs: Jobs, request: Request, model: str, version: str | None
) -> Reply:
    endpoint = serving.endpoint(model)
    endpoint, number = open_inference.version_of(serving, endpoint, version)
    length = request.header(v2_binary.HEADER)
    read, rows = await open_inference.read_whole(serving, endpoint, request.body, length)
    asked = open_inference.named(serving, endpoint, read, 0, number, rows)
    entry = await jobs.submit(asked, request.body, length)
    where = f"/v2/models/{quote(model, safe='')}/jobs/{entry.id}".encode()
    return Reply(v2.encode(told(jobs, entry)), 202, headers=((b"location", where),))


async def _result(jobs: Jobs, entry: Entry) -> Reply:
    """Answer as the request would have been at once, if it can be told."""
    if entry.state is State.DONE:
        outcome, body = await jobs.outcome(entry)
        return Reply(body, kind=outcome.kind, headers=tuple(outcome.headers))
    if entry.state is State.FAILED:
        outcome, _ = await jobs.outcome(entry)
        return failed(outcome.status, SetpointError(outcome.error))
    if entry.state is State.CANCELLED:
        return failed(409, Conflict(f"the job {entry.id} was cancelled"))
    error = Conflict(f"the job {entry.id} is {entry.state}", hint="ask again later")
    return replace(failed(409, error), headers=_AGAIN)


def told(jobs: Jobs, entry: Entry) -> dict[str, Any]:
    """Return what a client is told of a job."""
    return {
        "id": entry.id,
        "model": entry.model,
        "state": entry.state,
        "rows": entry.rows,
        "position": jobs.position(entry),
        "accepted_at": _when(entry.accepted_us),
        "started_at": _when(entry.started_us),
        "ended_at": _when(entry.ended_us),
        "error": entry.error,
        "output": entry.put or None,
        "delivered": entry.state.final and not jobs.owes(entry) if entry.put else None,
    }


def _when(micros: int) -> Any:
    return from_micros(micros) if micros else None


PROTOCOL = Protocol(lambda path: _JOBS.fullmatch(path) is not None, _answer, failed)
