"""The request of a job, read again: as it was when it was taken, in the words of its protocol."""

from collections.abc import Awaitable, Callable
from functools import partial

from msgspec.structs import replace

from setpoint.serve import v2
from setpoint.serve.answering import Answering
from setpoint.serve.endpoints import Endpoint
from setpoint.serve.exchange import Request
from setpoint.serve.jobs.entities import Job, Sent
from setpoint.serve.prediction import Asked
from setpoint.serve.rest import invocations, open_inference
from setpoint.serve.rest.contract import Asking

#: Calls a function beside the event loop.
Beside = Callable[[Callable[[], Asked]], Awaitable[Asked]]


async def read(serving: Answering, job: Job, body: bytes, beside: Beside) -> Asking:
    """Return what a job asks for.

    Raises:
        SetpointError: If what answers now does not take it, or is not there any more.
    """
    endpoint = serving.endpoint(job.model)
    version = str(job.version) if job.version else None
    endpoint, number = open_inference.version_of(serving, endpoint, version)
    if job.sent is None:
        return await _v2(serving, endpoint, number, job, body, beside)
    request = as_sent(job.sent, body)
    rows, _ = await invocations.rows_of(serving, request, endpoint, patient=True)
    asked = partial(
        serving.asked,
        endpoint,
        rows,
        0,
        request_id=job.request_id,
        parameters=_named(job, v2.Parameters()),
        version=number,
    )
    return Asking(await beside(asked), partial(invocations.written, request))


def as_sent(sent: Sent, body: bytes) -> Request:
    """Return an invocation as it would have been sent to be answered at once."""
    return Request("POST", "/invocations", sent.headers, body)


async def _v2(
    serving: Answering, endpoint: Endpoint, number: int, job: Job, body: bytes, beside: Beside
) -> Asking:
    request, rows = await open_inference.read_whole(
        serving, endpoint, body, job.length, patient=True
    )
    request.parameters = _named(job, request.parameters or v2.Parameters())
    request.id = job.request_id
    given = serving, endpoint, request, 0, number, rows
    asked = await beside(partial(open_inference.named, *given))
    return Asking(asked, lambda predicted: open_inference.replied(predicted, request))


def _named(job: Job, parameters: v2.Parameters) -> v2.Parameters:
    return replace(parameters, ids=job.ids, keys=job.keys or None, route=job.route)
