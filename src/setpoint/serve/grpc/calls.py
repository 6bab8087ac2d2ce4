"""From a method of a service to an answer, with errors as gRPC has them."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import grpc
from google.protobuf.message import DecodeError

from setpoint.errors import Conflict, Denied, Invalid, NotFound, SetpointError, Unavailable
from setpoint.serve import choosing, problems
from setpoint.serve.answering import Answering
from setpoint.serve.batching import Crowded
from setpoint.serve.prediction import Predicted
from setpoint.serve.telling import headers_of
from setpoint.serve.timing import TimedOut

#: ``(serving, request) -> answer``, or the answer and what was predicted
Handler = Callable[[Answering, Any], Awaitable[Any]]

#: Bytes of one entry of metadata. Clients take 8 kB of all, and end a call over more.
_LONGEST_METADATA = 2_000
_log = logging.getLogger(__name__)
_CODES: tuple[tuple[type[SetpointError], grpc.StatusCode], ...] = (
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (Conflict, grpc.StatusCode.FAILED_PRECONDITION),
    (problems.TooLarge, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (Invalid, grpc.StatusCode.INVALID_ARGUMENT),
    (Denied, grpc.StatusCode.PERMISSION_DENIED),
    (Crowded, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (TimedOut, grpc.StatusCode.DEADLINE_EXCEEDED),
    (Unavailable, grpc.StatusCode.UNAVAILABLE),
)


class Told(tuple[Any, Predicted]):
    """An answer with what was predicted: the call's metadata say which rows and version."""

    __slots__ = ()

    def __new__(cls, answer: Any, predicted: Predicted) -> Self:
        return super().__new__(cls, (answer, predicted))


def service(
    serving: Answering, name: str, methods: dict[str, tuple[Handler, type[Any], type[Any]]]
) -> Any:
    """Return a service: its methods by name, each with the classes of request and answer.

    Requests come as bytes and are read here: gRPC itself tells of those that it cannot read as
    errors that nobody knows, and its log of each.
    """
    return grpc.method_handlers_generic_handler(
        name,
        {
            method: grpc.unary_unary_rpc_method_handler(
                _traced(serving, f"{name}/{method}", _unary(serving, handle, request)),
                response_serializer=answer.SerializeToString,
            )
            for method, (handle, request, answer) in methods.items()
        },
    )


def stream(
    serving: Answering,
    name: str,
    method: str,
    handle: Callable[[Answering, AsyncIterator[Any]], AsyncIterator[Any]],
    request: type[Any],
    answer: type[Any],
) -> Any:
    """Return a service with one method of many requests and many answers."""

    async def answers(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        choosing.told.set(dict(context.invocation_metadata() or ()))
        with _span(serving, f"{name}/{method}", context):
            try:
                async for one in handle(serving, _each(request, requests)):
                    yield one
                    serving.after()
            except SetpointError as error:  # of the stream: those of a request are answers in it
                await _refuse(serving, context, error)

    handler = grpc.stream_stream_rpc_method_handler(
        answers, response_serializer=answer.SerializeToString
    )
    return grpc.method_handlers_generic_handler(name, {method: handler})


async def _each(kind: type[Any], requests: AsyncIterator[bytes]) -> AsyncIterator[Any]:
    async for sent in requests:
        yield _read(kind, sent)


def _read(kind: type[Any], sent: bytes) -> Any:
    """Return a request from its bytes.

    Raises:
        Invalid: If they are none.
    """
    try:
        return kind.FromString(sent)
    except DecodeError:
        raise Invalid(
            "the request cannot be read as a message of protocol buffers",
            hint="send the message that this method takes, serialized",
        ) from None


async def _refuse(serving: Answering, context: Any, error: SetpointError) -> Any:
    """End a call with an error; returns never."""
    serving.metrics.errs(code_of(error).name)
    return await context.abort(code_of(error), problems.said(error))


def _traced(
    serving: Answering, method: str, answer: Callable[[Any, Any], Awaitable[Any]]
) -> Callable[[Any, Any], Awaitable[Any]]:
    """Return a handler whose calls are spans, where spans are asked for."""
    if serving.tracing is None:
        return answer

    async def traced(request: Any, context: Any) -> Any:
        with _span(serving, method, context) as back:
            await context.send_initial_metadata(back)
            return await answer(request, context)

    return traced


@contextmanager
def _span(serving: Answering, method: str, context: Any) -> Iterator[tuple[tuple[str, str], ...]]:
    """Have a call be a span, where spans are asked for; give what the client is told of it."""
    if serving.tracing is None:
        yield ()
        return
    from setpoint.serve.tracing import traceparent  # noqa: PLC0415 - an extra

    with serving.tracing.rpc(method, context.invocation_metadata() or ()) as span:
        try:
            yield (("traceparent", traceparent(span)),)
        finally:
            code = context.code() or grpc.StatusCode.OK
            span.set_attribute("rpc.response.status_code", getattr(code, "name", str(code)))


def _unary(
    serving: Answering, handle: Handler, kind: type[Any]
) -> Callable[[Any, Any], Awaitable[Any]]:
    async def answer(sent: bytes, context: Any) -> Any:
        try:
            request = _read(kind, sent)
            _require_small(serving, request)
            choosing.told.set(dict(context.invocation_metadata() or ()))
            found = await handle(serving, request)
        except SetpointError as error:
            return await _refuse(serving, context, error)
        except Exception:  # noqa: BLE001 - the outermost frame: no traceback reaches a client
            _log.exception("request failed")
            serving.metrics.errs(grpc.StatusCode.INTERNAL.name)
            return await context.abort(grpc.StatusCode.INTERNAL, problems.FAILED)
        if isinstance(found, Told):
            found, predicted = found
            context.set_trailing_metadata(_told_of(predicted))
        serving.after()
        return found

    return answer


def _told_of(predicted: Predicted) -> tuple[tuple[str, str], ...]:
    """Return the metadata that say which rows were predicted, and by whom."""
    told = headers_of(predicted, _LONGEST_METADATA)
    return tuple((name.decode(), value.decode()) for name, value in told)


def _require_small(serving: Answering, request: Any) -> None:
    """Refuse a request that is longer than its endpoint reads.

    Raises:
        TooLarge: If it is.
    """
    named = getattr(request, "model_name", "")
    if not named and (spec := getattr(request, "model_spec", None)) is not None:
        named = spec.name
    endpoint = serving.endpoints.get(named) if named else None
    if endpoint is not None and request.ByteSize() > endpoint.body:
        raise problems.TooLarge(
            f"the message is longer than {endpoint.body:,} bytes", hint="send fewer rows in it"
        )


def code_of(error: SetpointError) -> grpc.StatusCode:
    """Return the status of an error."""
    codes = (code for kind, code in _CODES if isinstance(error, kind))
    return next(codes, grpc.StatusCode.INTERNAL)
