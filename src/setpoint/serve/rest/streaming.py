"""SageMaker's answers in parts: its runtime's ``InvokeEndpointWithResponseStream``.

What is asked, scored and logged is what ``/endpoints/MODEL/invocations`` does. A model's answer is
there at once, so it is cut into parts of a size that a client reads with pleasure.
"""

import re
from urllib.parse import unquote

from msgspec.structs import replace

from setpoint.serve import eventstream
from setpoint.serve.answering import Answering
from setpoint.serve.exchange import Reply, Request
from setpoint.serve.rest import invocations
from setpoint.serve.rest.contract import Protocol, nowhere

PART = 65_536  #: bytes of the answer in an event, at most
_PATH = re.compile(r"/endpoints/(?P<endpoint>[^/]+)/invocations-response-stream")
#: What the answer is to be in, and what it is in: `Accept` and `Content-Type` are the stream's own.
_ACCEPT = b"x-amzn-sagemaker-accept"
_CONTENT_TYPE = b"x-amzn-sagemaker-content-type"


async def _answer(serving: Answering, request: Request) -> Reply:
    asked = _PATH.fullmatch(request.path)
    if asked is None or request.method != "POST":
        raise nowhere(request)
    endpoint = serving.endpoint(unquote(asked["endpoint"]))
    headers = {**request.headers, b"accept": request.headers.get(_ACCEPT, b"")}
    reply = await invocations.invoke(serving, replace(request, headers=headers), endpoint)
    told = (*reply.headers, (_CONTENT_TYPE, reply.kind))
    return Reply(_parts(reply.body), kind=eventstream.KIND, headers=told)


def _parts(body: bytes) -> bytes:
    """Return an answer as events; one without bytes is one, too."""
    starts = range(0, len(body) or 1, PART)
    return b"".join([eventstream.event("PayloadPart", body[at : at + PART]) for at in starts])


PROTOCOL = Protocol(
    lambda path: _PATH.fullmatch(path) is not None, _answer, invocations.failed_named
)
