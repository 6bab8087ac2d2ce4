"""SageMaker's asynchronous invocations: an input in S3, an answer there; a job in between.

The input is fetched and read when it is taken, so what is wrong with it is said at once, and what
becomes of the object meanwhile changes nothing. From then on the invocation is a job as those of V2
are; see `serve.jobs`. Whom the server's credentials let read may be read, and nothing is put
outside of the place that its operator named.
"""

import re
from urllib.parse import unquote

from setpoint.core.ids import new_id
from setpoint.errors import Conflict, Invalid
from setpoint.serve import v2
from setpoint.serve.answering import Answering
from setpoint.serve.exchange import Reply, Request
from setpoint.serve.jobs.entities import Sent
from setpoint.serve.jobs.outbox import Outbox
from setpoint.serve.jobs.reading import as_sent
from setpoint.serve.rest import invocations, jobs
from setpoint.serve.rest.contract import Protocol, nowhere

_PATH = re.compile(r"/endpoints/(?P<endpoint>[^/]+)/async-invocations")
_SAGEMAKER = b"x-amzn-sagemaker-"
#: What an invocation that is answered at once is sent, by what this one is.
_SENT = {
    _SAGEMAKER + b"content-type": b"content-type",
    _SAGEMAKER + b"accept": b"accept",
    **{
        _SAGEMAKER + name: _SAGEMAKER + name
        for name in (b"inference-id", b"custom-attributes", b"target-variant", b"session-id")
    },
}
_INFERENCE_ID = _SAGEMAKER + b"inference-id"
_LIVES = _SAGEMAKER + b"requestttlseconds", 60, 21_600
_TAKES = _SAGEMAKER + b"invocationtimeoutseconds", 1, 3_600


async def _answer(serving: Answering, request: Request) -> Reply:
    asked = _PATH.fullmatch(request.path)
    if asked is None or request.method != "POST":
        raise nowhere(request)
    if serving.jobs is None:
        return await jobs.elsewhere(serving, request)
    outbox = serving.jobs.outbox
    if outbox is None:
        raise Conflict(
            "asynchronous invocations are not taken here: their answers have no place",
            hint="start the server with SETPOINT_SERVE_ASYNC_OUTPUT=s3://BUCKET/PREFIX",
        )
    endpoint = serving.endpoint(unquote(asked["endpoint"]))
    serving.jobs.require_room()
    name = new_id("job")
    sent = _sent(request, outbox, name)
    body = await _input(request, outbox, endpoint.body)
    asking = await invocations.asking_whole(serving, as_sent(sent, body), endpoint)
    await serving.jobs.submit(asking.asked, body, name=name, sent=sent)
    told = (
        (_SAGEMAKER + b"outputlocation", sent.output.encode()),
        (_SAGEMAKER + b"failurelocation", sent.failure.encode()),
    )
    identified = request.header(_INFERENCE_ID) or asking.asked.request_id
    return Reply(v2.encode({"InferenceId": identified}), 202, headers=told)


def _sent(request: Request, outbox: Outbox, name: str) -> Sent:
    """Return what is kept of an invocation besides its body.

    Raises:
        Invalid: If a header says what cannot be.
    """
    extension = request.header(_SAGEMAKER + b"s3outputpathextension")
    output, failure = outbox.places(name, extension, request.header(_SAGEMAKER + b"filename"))
    headers = {name: request.headers.get(said, b"") for said, name in _SENT.items()}
    return Sent(
        headers={name: value for name, value in headers.items() if value},
        output=output,
        failure=failure,
        lives=_seconds(request, *_LIVES),
        takes=_seconds(request, *_TAKES),
    )


def _seconds(request: Request, header: bytes, least: int, most: int) -> int:
    """Return what a header says, 0 if it was not sent."""
    said = request.header(header)
    if not said:
        return 0
    if not (said.isascii() and said.isdigit() and len(said) < 7 and least <= int(said) <= most):
        where = header.decode()
        hint = f"send a number from {least} to {most:,}"
        raise Invalid(f"{said[:40]!r} is no time in seconds", where=where, hint=hint)
    return int(said)


async def _input(request: Request, outbox: Outbox, most: int) -> bytes:
    """Return the body that is to be scored: an object, or what was sent instead of one.

    Raises:
        Invalid: If there are both, or neither, or the location is none.
        SetpointError: As `Outbox.fetch` does.
    """
    where = request.header(_SAGEMAKER + b"inputlocation")
    if bool(where) == bool(request.body):
        what = "an input and the location of one are" if where else "no input is"
        raise Invalid(
            f"{what} sent", hint="send the header X-Amzn-SageMaker-InputLocation, or a body"
        )
    return await outbox.fetch(where, most) if where else request.body


PROTOCOL = Protocol(
    lambda path: _PATH.fullmatch(path) is not None, _answer, invocations.failed_named
)
