"""TensorFlow Serving's REST API, and KServe's V1 protocol, which has the same addresses.

A model's state is answered for both at once: the fields that KServe's clients read and those
that TensorFlow's do.
"""

import re
from collections.abc import Callable, Mapping
from time import perf_counter_ns
from typing import Any

import msgspec
from msgspec import Struct

from setpoint.errors import Invalid, NotFound
from setpoint.serve import columns, v2
from setpoint.serve.answering import Answering
from setpoint.serve.decoding import lenient, read, too_deep, unbase64
from setpoint.serve.endpoints import Endpoint
from setpoint.serve.exchange import Reply, Request
from setpoint.serve.holding import NOT_HERE
from setpoint.serve.outputs import OutputSpec, rows
from setpoint.serve.outputs import columns as columnar
from setpoint.serve.prediction import Predicted
from setpoint.serve.rest import explaining
from setpoint.serve.rest.aside import is_large, read_aside
from setpoint.serve.rest.contract import (
    Asking,
    Protocol,
    failed,
    labelled,
    labels_of,
    nowhere,
    numbered,
    predicted,
)
from setpoint.serve.telling import headers_of

_PATH = re.compile(
    r"/v1/models/(?P<model>[^/:]+)"
    r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
    r"(?P<what>/metadata|:[a-z]+)?"
)
SIGNATURE = "serving_default"
_HINT = "try GET /v1/models/MODEL, POST /v1/models/MODEL:predict or :explain"
_TYPES = {"FP64": "DT_DOUBLE", "FP32": "DT_FLOAT", "FP16": "DT_HALF", "BYTES": "DT_STRING"}


class _Predict(Struct):
    """The body of ``:predict``."""

    instances: Any = None  #: row by row
    inputs: Any = None  #: column by column
    signature_name: str = SIGNATURE
    parameters: v2.Parameters | None = None


class _Examples(Struct):
    """The body of ``:classify`` and ``:regress``."""

    examples: list[dict[str, Any]]
    context: dict[str, Any] = {}
    signature_name: str = SIGNATURE
    parameters: v2.Parameters | None = None


_predict = lenient(msgspec.json.Decoder(_Predict), _Predict)
_examples = lenient(msgspec.json.Decoder(_Examples), _Examples)


async def _answer(serving: Answering, request: Request) -> Reply:
    if request.path in {"/v1/models", "/v1/models/"} and request.method == "GET":
        return Reply(v2.encode({"models": sorted(serving.endpoints.all())}))
    asked = _PATH.fullmatch(request.path)
    if asked is None:
        raise nowhere(request, _HINT)
    endpoint = serving.endpoint(asked["model"])
    endpoint, version = version_of(serving, endpoint, asked["version"], asked["label"])
    what = asked["what"]
    if request.method == "GET" and what is None:
        return Reply(_state(serving, endpoint, version))
    if request.method == "GET" and what == "/metadata":
        return Reply(_metadata(endpoint, version))
    if request.method == "POST" and what in _READ:
        return await _answered(serving, request, endpoint, version, what)
    raise nowhere(request, _HINT)


async def _answered(
    serving: Answering, request: Request, endpoint: Endpoint, version: int, what: str
) -> Reply:
    started = perf_counter_ns()
    if what in {":classify", ":regress"}:
        endpoint.outputs.require(what.removeprefix(":"))
    how, body = _READ[what], (request.body, endpoint.inputs)
    if is_large(request.body):
        given = await read_aside(serving, endpoint, how, *body)
    else:
        given = how(*body)
    if what == ":explain":
        return await explaining.in_v1(serving, endpoint, given.rows, version)
    return await predicted(serving, _asked(serving, endpoint, given, started, version, what))


def _asking(serving: Answering, endpoint: Endpoint, request: Request) -> Asking:
    started = perf_counter_ns()
    return _asked(serving, endpoint, _read_rows(request.body, endpoint.inputs), started)


def version_of(
    serving: Answering, endpoint: Endpoint, version: str | None, label: str | None
) -> tuple[Endpoint, int]:
    """Return what answers a request that names a version by number or label; 0: it names none.

    Raises:
        NotFound: If it is not served here.
    """
    if version is not None:
        return numbered(serving, endpoint, version)
    if label is None:
        return endpoint, 0
    found = labelled(serving, endpoint, label)
    if found is None:
        raise NotFound(
            f"no version of {endpoint.model!r} is {label!r}",
            hint=f"labels: {labels_of(serving, endpoint)}",
        )
    return found


class _Given(Struct):
    """What a body asks for."""

    rows: v2.Rows
    parameters: v2.Parameters | None
    by_row: bool = True  #: whether it is to be answered row by row, as it asks


def _read_rows(body: bytes, inputs: v2.Inputs) -> _Given:
    """Read the body of ``:predict``."""
    found = read(_predict, body, "predict request")
    check_signature(found.signature_name)
    if (found.instances is None) == (found.inputs is None):
        raise Invalid("send either instances, row by row, or inputs, column by column", where="$")
    plain = _plainly(body)
    if found.inputs is None:
        rows = columns.from_instances(plain(found.instances), inputs, "$.instances")
    else:
        rows = _columnar(plain(found.inputs), inputs)
    return _Given(rows, found.parameters, found.inputs is None)


def _read_examples(body: bytes, inputs: v2.Inputs) -> _Given:
    """Read the body of ``:classify`` and ``:regress``."""
    found = read(_examples, body, "request")
    check_signature(found.signature_name)
    plain = _plainly(body)
    records = [plain(found.context | example) for example in found.examples]
    return _Given(columns.from_records(records, inputs, "$.examples"), found.parameters)


_READ = {
    **dict.fromkeys((":predict", ":explain"), _read_rows),
    **dict.fromkeys((":classify", ":regress"), _read_examples),
}


def _asked(
    serving: Answering,
    endpoint: Endpoint,
    given: _Given,
    started: int,
    version: int = 0,
    what: str = ":predict",
) -> Asking:
    def written(predicted: Predicted) -> Reply:
        return Reply(v2.encode(_told(predicted, given, what)), headers=headers_of(predicted))

    parameters = given.parameters
    asked = serving.asked(endpoint, given.rows, started, parameters=parameters, version=version)
    return Asking(asked, written)


def _told(predicted: Predicted, given: _Given, what: str) -> dict[str, Any]:
    if what == ":predict":
        told = predicted.told()
        return {"predictions": rows(told)} if given.by_row else {"outputs": columnar(told)}
    if what == ":regress":
        return {"results": predicted.scores}
    names, probabilities = predicted.classified()
    return {"results": [list(zip(names, row, strict=True)) for row in probabilities.tolist()]}


def _columnar(given: Any, inputs: v2.Inputs) -> v2.Rows:
    if isinstance(given, Mapping):
        return columns.from_columns(given, inputs, "$.inputs")
    return columns.from_instances(given, inputs, "$.inputs")


def check_signature(name: str) -> None:
    """Refuse another signature than the one there is.

    Raises:
        Invalid: If it is another.
    """
    if name not in {"", SIGNATURE}:
        raise Invalid(
            f"there is no signature {name!r}",
            where="$.signature_name",
            hint=f"ask for {SIGNATURE!r}, or leave it out",
        )


def _plainly(body: bytes) -> Callable[[Any], Any]:
    """Return a function that makes of a value of a body of JSON what it stands for.

    That is bytes for ``{"b64": …}``; most bodies have none, and their values stay as they are.
    """
    if b"b64" not in body and b"\\u" not in body:  # the name may be written in escapes
        return lambda value: value
    return _plain


def _plain(value: Any) -> Any:
    try:
        return _decoded(value)
    except RecursionError:
        raise too_deep("request") from None


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.keys() != {"b64"}:
        return {key: _decoded(each) for key, each in value.items()}
    return unbase64(value["b64"], "b64")


def state_of(serving: Answering, endpoint: Endpoint) -> tuple[str, str]:
    """Return an endpoint's state as TensorFlow Serving calls it, and what is wrong, if anything is.

    A version that is loaded when it is asked is at its START until then.
    """
    state, why = serving.state(endpoint)
    if state == "READY":
        return "AVAILABLE", ""
    if state == "LOADING":
        return "LOADING", ""
    return ("START", "") if why == NOT_HERE else ("END", why)


def _state(serving: Answering, endpoint: Endpoint, version: int) -> bytes:
    """Return a model's state in both protocols' fields."""
    state, why = state_of(serving, endpoint)
    states = [
        {
            "version": str(one.version),
            "state": state,
            "status": {"error_code": "UNKNOWN" if why else "OK", "error_message": why},
        }
        for one in endpoint.deployed
        if version in {0, one.version}
    ]
    ready = state == "AVAILABLE"
    return v2.encode({"name": endpoint.model, "ready": ready, "model_version_status": states})


def _metadata(endpoint: Endpoint, version: int) -> bytes:
    signature = {
        "inputs": {known.name: _tensor(known) for known in endpoint.inputs.specs if known.required},
        "outputs": {known.name: _tensor(known) for known in endpoint.outputs.specs},
        "method_name": "tensorflow/serving/predict",
    }
    return v2.encode(
        {
            "model_spec": {
                "name": endpoint.model,
                "signature_name": "",
                "version": str(version or endpoint.live.version),
            },
            "metadata": {"signature_def": {"signature_def": {SIGNATURE: signature}}},
        }
    )


def _tensor(known: v2.InputSpec | OutputSpec) -> dict[str, Any]:
    dims = [{"size": str(size), "name": ""} for size in (-1, *known.shape)]
    kind = _TYPES.get(known.datatype, f"DT_{known.datatype}")
    shape = {"dim": dims, "unknown_rank": False}
    return {"dtype": kind, "tensor_shape": shape, "name": f"{known.name}:0"}


PROTOCOL = Protocol(lambda path: path.startswith("/v1/"), _answer, failed, _asking)
