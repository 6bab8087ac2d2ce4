"""``/invocations``: MLflow's scoring server and SageMaker's container contract.

Both have one model behind one address. Where several are served, a request names its own: by
SageMaker's header, or by one of the addresses with a name in them, which its multi-model
contract and its runtime's clients use.
"""

import re
from collections.abc import Mapping
from functools import partial
from time import perf_counter_ns
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from setpoint.errors import Conflict, Denied, Invalid, NotFound, SetpointError, Unavailable
from setpoint.serve import columns, problems, v2
from setpoint.serve.answering import Answering
from setpoint.serve.decoding import lenient, read
from setpoint.serve.endpoints import Endpoint
from setpoint.serve.exchange import TEXT, Headers, Reply, Request
from setpoint.serve.prediction import Predicted
from setpoint.serve.rest import formats
from setpoint.serve.rest.aside import is_large, read_aside
from setpoint.serve.rest.contract import (
    Asking,
    Protocol,
    labelled,
    labels_of,
    nowhere,
    numbered,
    predicted,
)
from setpoint.serve.telling import headers_of, versions_of

_SINGLE = frozenset({"/ping", "/health", "/version", "/invocations"})
#: SageMaker's of many models; and a model's own ``/invocations``, for clients that take a prefix.
_NAMED = re.compile(r"/models(?:/(?P<model>[^/]+)(?P<what>/invoke|/invocations|/ping)?)?")
_RUNTIME = re.compile(r"/endpoints/(?P<endpoint>[^/]+)/invocations")
_TARGET_MODEL = b"x-amzn-sagemaker-target-model"
_TARGET_VARIANT = b"x-amzn-sagemaker-target-variant"
_INFERENCE_ID = b"x-amzn-sagemaker-inference-id"
_ATTRIBUTES = b"x-amzn-sagemaker-custom-attributes"
_SESSION = b"x-amzn-sagemaker-session-id"
_NEW_SESSION = "NEW_SESSION"
_VARIANT = b"x-amzn-invoked-production-variant"
_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_CODES = {404: "RESOURCE_DOES_NOT_EXIST", 403: "PERMISSION_DENIED"}
_EXCEPTIONS = {429: "ThrottlingException", 503: "ServiceUnavailable"}


class _Split(Struct):
    columns: list[str]
    data: list[list[Any]]
    index: Any = None


class _Body(Struct):
    """What MLflow's clients send: exactly one of the forms."""

    dataframe_split: _Split | None = None
    dataframe_records: list[dict[str, Any]] | None = None
    instances: Any = None
    inputs: Any = None
    params: dict[str, Any] | None = None
    parameters: v2.Parameters | None = None


_decode = lenient(msgspec.json.Decoder(_Body), _Body)
_load_request = msgspec.json.Decoder(dict[str, Any])


async def _single(serving: Answering, request: Request) -> Reply:
    """Answer for the only model there is, or the one a header names."""
    path = request.path
    if request.method == "GET" and path != "/invocations":
        if (why := serving.unready()) is not None:
            raise Unavailable(f"not ready: {why}")
        return Reply(v2.VERSION.encode() if path == "/version" else b"\n", kind=TEXT)
    if (endpoint := _invoked(serving, request)) is not None:
        return await invoke(serving, request, endpoint)
    raise nowhere(request, "try POST /invocations")


def _invoked(serving: Answering, request: Request) -> Endpoint | None:
    """Return who is asked for predictions, None if nobody is.

    Raises:
        NotFound, Unavailable: As `Answering.endpoint` does.
        Invalid: If several are served, and none is named.
    """
    path, target = request.path, request.header(_TARGET_MODEL)
    if request.method != "POST":
        return None
    if path == "/invocations":
        return _only(serving, target)
    if (runtime := _RUNTIME.fullmatch(path)) is not None:
        return serving.endpoint(target or unquote(runtime["endpoint"]))
    named = _NAMED.fullmatch(path)
    if named is None or named["what"] not in {"/invoke", "/invocations"}:
        return None
    return serving.endpoint(unquote(named["model"]))


def _only(serving: Answering, target: str) -> Endpoint:
    served = sorted(serving.endpoints.all())
    if target:
        return serving.endpoint(target)
    if len(served) == 1:
        return serving.endpoint(served[0])
    raise Invalid(
        f"{len(served)} models are served here, and none is named",
        hint="name it in the header X-Amzn-SageMaker-Target-Model, or POST /models/MODEL/invoke: "
        + (", ".join(served) or "none is served yet"),
    )


async def _named(serving: Answering, request: Request) -> Reply:
    """Answer SageMaker's contract for containers of many models, and its runtime's clients."""
    if (endpoint := _invoked(serving, request)) is not None:
        return await invoke(serving, request, endpoint)
    asked = _NAMED.fullmatch(request.path)
    if asked is None:
        raise nowhere(request)
    name = asked["model"] and unquote(asked["model"])
    what = asked["what"]
    if request.method == "GET" and what in {None, "/ping"}:
        return _told(serving, name, ping=what is not None)
    if request.method == "POST" and not name:
        return await _load(serving, request)
    if request.method == "DELETE" and name and not what:
        return await _unload(serving, name)
    raise nowhere(request)


def _told(serving: Answering, name: str | None, *, ping: bool) -> Reply:
    """Tell of a model, or list those that are loaded."""
    if not name:
        every = [_loaded(one) for one in serving.endpoints.all().values() if not one.absent]
        return Reply(v2.encode({"models": every}))
    if not ping:
        return Reply(v2.encode(_loaded(_in_memory(serving, name))))
    state, why = serving.state(serving.endpoint(name))
    if state != "READY":
        raise Unavailable(f"not ready: {why}")
    return Reply(b"\n", kind=TEXT)


async def _load(serving: Answering, request: Request) -> Reply:
    wanted = str(read(_load_request.decode, request.body, "load request").get("model_name", ""))
    endpoint = serving.endpoint(wanted)  # or it is not found: models come here by releases
    if not endpoint.absent:
        raise Conflict(f"{wanted!r} is loaded already")
    await serving.bringing.pin(endpoint)
    return Reply(v2.encode(_loaded(endpoint)))


async def _unload(serving: Answering, name: str) -> Reply:
    if serving.endpoints.memory.limit is None:
        serving.endpoint(name)
        raise Denied(f"{name!r} is live", hint="what is served follows the releases of a model")
    await serving.bringing.give_up(_in_memory(serving, name))
    return Reply(b"{}")


def _in_memory(serving: Answering, name: str) -> Endpoint:
    """Return a model that is loaded; others are not there, as this contract has it."""
    endpoint = serving.endpoint(name)
    if endpoint.absent:
        raise NotFound(f"{name!r} is not loaded", hint="POST /models, or ask it")
    return endpoint


def _loaded(endpoint: Endpoint) -> dict[str, str]:
    return {"modelName": endpoint.model, "modelUrl": f"models:/{endpoint.model}@live"}


async def invoke(serving: Answering, request: Request, endpoint: Endpoint) -> Reply:
    """Answer who invokes an endpoint.

    Raises:
        Invalid: If the body cannot be read, or does not fit the model.
        SetpointError: As `Answering.predict` does.
    """
    return await predicted(serving, await asking_whole(serving, request, endpoint))


async def asking_whole(serving: Answering, request: Request, endpoint: Endpoint) -> Asking:
    """Read an invocation, however long that takes; raises as `invoke` does."""
    began = _begun(serving, request, endpoint)
    rows, parameters = await rows_of(serving, request, began.endpoint)
    return _asked(serving, request, began, rows, parameters)


async def rows_of(
    serving: Answering, request: Request, endpoint: Endpoint, *, patient: bool = False
) -> tuple[v2.Rows, v2.Parameters | None]:
    """Read the body of an invocation; see `read_aside`."""
    kind = _kind(request)
    given = request.body, kind, endpoint.inputs
    if kind in formats.TABLES or is_large(request.body):
        return await read_aside(serving, endpoint, _rows, *given, patient=patient)
    return _rows(*given)


def _asking(serving: Answering, endpoint: Endpoint, request: Request) -> Asking | None:
    kind = _kind(request)
    if kind in formats.TABLES:
        return None
    began = _begun(serving, request, endpoint)
    rows, parameters = _rows(request.body, kind, began.endpoint.inputs)
    return _asked(serving, request, began, rows, parameters)


class _Begun(NamedTuple):
    """A request whose body is yet to be read."""

    endpoint: Endpoint
    variant: str  #: whom of it a tester named; empty: nobody
    at: int  #: `perf_counter_ns`


def _begun(serving: Answering, request: Request, endpoint: Endpoint) -> _Begun:
    at = perf_counter_ns()
    return _Begun(*_variant(serving, endpoint, request.header(_TARGET_VARIANT)), at)


def _asked(
    serving: Answering,
    request: Request,
    began: _Begun,
    rows: v2.Rows,
    parameters: v2.Parameters | None,
) -> Asking:
    identified = _identified(request, parameters, began.variant, rows.count)
    asked = serving.asked(began.endpoint, rows, began.at, parameters=identified)
    return Asking(asked, partial(written, request))


def written(request: Request, predicted: Predicted) -> Reply:
    """Return an answer as an invocation asks for it."""
    body, kind = formats.written(request.header(b"accept"), predicted)
    headers = (*headers_of(predicted), *_answered(request, predicted))
    return Reply(body, kind=kind, headers=headers)


def _kind(request: Request) -> str:
    kind, _, _ = request.header(b"content-type").lower().partition(";")
    return kind.strip()


def _rows(body: bytes, kind: str, inputs: v2.Inputs) -> tuple[v2.Rows, v2.Parameters | None]:
    """Read a body in the format that its content type names; see `aside` for tables."""
    if kind in formats.TABLES:
        return formats.from_table(body, formats.TABLES[kind], inputs), None
    if kind == "text/csv":
        return formats.from_csv(body, inputs), None
    if kind in formats.LINES:
        return formats.from_lines(body, inputs), None
    if kind in {"", "application/json", "application/x-www-form-urlencoded"}:
        found = read(_decode, body, "request")
        return _from_json(found, inputs), found.parameters
    raise problems.Unsupported(
        f"the content type {kind!r} is not understood",
        hint="send application/json, text/csv, application/jsonlines, application/x-parquet "
        "or application/vnd.apache.arrow.stream",
    )


def _from_json(body: _Body, inputs: v2.Inputs) -> v2.Rows:
    given = [form for form in _FORMS if getattr(body, form) is not None]
    if len(given) != 1:
        found = " and ".join(given) or "none of them"
        raise Invalid(f"the body has {found}", where="$", hint=f"send one of: {', '.join(_FORMS)}")
    where = f"$.{given[0]}"
    if body.dataframe_split is not None:
        return _from_split(body.dataframe_split, inputs, where)
    if body.dataframe_records is not None:
        return columns.from_records(_known(body.dataframe_records, inputs), inputs, where)
    values = body.inputs if body.instances is None else body.instances
    if isinstance(values, Mapping):
        return columns.from_columns(_listed(values), inputs, where)
    return columns.from_instances(values, inputs, where)


def _known(records: list[dict[str, Any]], inputs: v2.Inputs) -> list[dict[str, Any]]:
    """Return records without columns that are no inputs, see `formats.known`."""
    names = inputs.names
    if all(names >= record.keys() for record in records):
        return records
    if all(names.isdisjoint(record) for record in records):
        return records
    return [{name: value for name, value in one.items() if name in names} for one in records]


def _listed(named: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return columns; values alone are one row, as MLflow has it."""
    if any(isinstance(each, list) for each in named.values()):
        return named
    return {name: [value] for name, value in named.items()}


def _from_split(split: _Split, inputs: v2.Inputs, where: str) -> v2.Rows:
    width = len(split.columns)
    for i, row in enumerate(split.data):
        if len(row) != width:
            raise Invalid(
                f"row {i} has {len(row)} values for {width} columns",
                where=f"{where}.data[{i}]",
                hint="send one value a column",
            )
    names, rows = split.columns, split.data
    if names == inputs.numeric:
        return columns.from_rows(names, rows, inputs, f"{where}.data")
    if len(set(names)) != width:
        raise Invalid("a column is given twice", where=f"{where}.columns")
    places = [at for at, name in enumerate(names) if name in inputs.names]
    if 0 < len(places) < width:  # others are left out, as MLflow does
        names, rows = [names[at] for at in places], [[row[at] for at in places] for row in rows]
    return columns.from_rows(names, rows, inputs, f"{where}.data")


def _identified(
    request: Request, parameters: v2.Parameters | None, variant: str, count: int
) -> v2.Parameters | None:
    """Return what names the rows: the body's own words, or SageMaker's inference id."""
    inference, session = request.header(_INFERENCE_ID), request.header(_SESSION)
    if session == _NEW_SESSION:  # asks for a session of its own: of us it gets none
        session = ""
    if not (inference or session or variant):
        return parameters
    given = parameters or v2.Parameters()
    ids, keys = given.ids, given.keys
    if ids is None and inference:
        ids = [inference] if count == 1 else [f"{inference}.{i}" for i in range(count)]
    if keys is None and session:
        keys = [session] * count
    return replace(given, ids=ids, keys=keys, route=given.route or variant)


def _variant(serving: Answering, endpoint: Endpoint, variant: str) -> tuple[Endpoint, str]:
    """Return what answers for a variant, and whom of it a tester named; empty: nobody.

    A variant is an arm of a test, a part in a release, a version by its number, or an alias.
    """
    if not variant or variant in endpoint.routes:
        return endpoint, variant
    if variant.isdecimal():
        found, number = numbered(serving, endpoint, variant)
        return found, str(number) if number else ""
    known = labelled(serving, endpoint, variant)
    if known is None:
        raise NotFound(
            f"there is no variant {variant[:60]!r} of {endpoint.model!r}",
            hint=f"name a version, or one of: {labels_of(serving, endpoint)}",
        )
    found, number = known
    return found, str(number) if number else ""


def _answered(request: Request, predicted: Predicted) -> Headers:
    """Return the headers that SageMaker's clients read."""
    headers: list[tuple[bytes, bytes]] = [(_VARIANT, versions_of(predicted))]
    if attributes := request.header(_ATTRIBUTES):
        headers.append((_ATTRIBUTES, attributes.encode("latin-1")))
    return tuple(headers)


def _failed(status: int, error: SetpointError) -> Reply:
    """Return an error as MLflow's clients know them: by a code."""
    code = _CODES.get(status, "INTERNAL_ERROR" if status >= 500 else "BAD_REQUEST")
    return Reply(v2.encode({"error_code": code, "message": problems.said(error)}), status)


def failed_named(status: int, error: SetpointError) -> Reply:
    """Return an error as SageMaker's clients know them, too: by a header."""
    kind = _EXCEPTIONS.get(status, "ModelError" if status >= 500 else "ValidationError")
    return replace(_failed(status, error), headers=((b"x-amzn-errortype", kind.encode()),))


SINGLE = Protocol(lambda path: path in _SINGLE, _single, _failed, _asking)
NAMED = Protocol(
    lambda path: path.startswith(("/models", "/endpoints/")), _named, failed_named, _asking
)
