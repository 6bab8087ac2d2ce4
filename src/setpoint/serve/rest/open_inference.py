"""The Open Inference Protocol V2 over HTTP, with binary tensors and, besides, labels."""

import re
from collections.abc import Sequence
from time import perf_counter_ns
from typing import Any
from urllib.parse import unquote

from setpoint.errors import Invalid, Unavailable
from setpoint.serve import tensors, v2, v2_binary
from setpoint.serve.answering import Answering
from setpoint.serve.classification import ranked
from setpoint.serve.endpoints import Endpoint
from setpoint.serve.exchange import Reply, Request
from setpoint.serve.outputs import OutputSpec, Told, plain
from setpoint.serve.prediction import Asked, Predicted
from setpoint.serve.rest import explaining
from setpoint.serve.rest.aside import is_large, read_aside
from setpoint.serve.rest.contract import Protocol, failed, nowhere, numbered
from setpoint.serve.rest.statistics import every_stats, stats
from setpoint.serve.telling import arm_headers
from setpoint.serve.v2 import InputSpec

_MODEL = re.compile(
    r"/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?"
    r"(?:/(?P<what>infer|explain|labels|ready|config|stats))?"
)
_REPOSITORY = re.compile(r"/v2/repository/models/(?P<model>[^/]+)/(?P<what>load|unload)")
#: What servers of this protocol may offer, and this one does not.
_ABSENT = re.compile(
    r"/v2/(systemsharedmemory|cudasharedmemory|trace|logging)(/.*)?|/v2/models/[^/]+(/versions/[^/]+)?/trace(/.*)?"
)
_LENGTH = v2_binary.HEADER
EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "statistics",
)
HINT = (
    "try GET /v2, GET /v2/models/MODEL, POST /v2/models/MODEL/infer, "
    "POST /v2/models/MODEL/explain, POST /v2/models/MODEL/labels, GET /metrics"
)


async def _answer(serving: Answering, request: Request) -> Reply:
    path = request.path.rstrip("/")
    get, post = request.method == "GET", request.method == "POST"
    if path == "/v2/models/stats":
        if get:
            return Reply(v2.encode({"model_stats": await every_stats(serving)}))
    elif asked := _MODEL.fullmatch(path):
        return await _of_model(serving, request, asked)
    elif post and path == "/v2/repository/index":
        return Reply(v2.encode(index(serving)))
    elif post and (asked := _REPOSITORY.fullmatch(path)):
        return await load(serving, unquote(asked["model"]), asked["what"])
    elif _ABSENT.fullmatch(path):
        raise Invalid(f"{path} is not offered here", hint="send tensors in the request")
    elif get:
        return _state(serving, request, path)
    raise nowhere(request, HINT)


async def _of_model(serving: Answering, request: Request, asked: re.Match[str]) -> Reply:
    endpoint = serving.endpoint(unquote(asked["model"]))
    endpoint, version = version_of(serving, endpoint, asked["version"])
    what = asked["what"]
    if request.method == "POST" and what in _ASKED:
        return await _ASKED[what](serving, request, endpoint, version)
    if request.method == "POST" and what == "labels":
        return await _label(serving, request, endpoint)
    if request.method == "GET" and what != "labels" and what not in _ASKED:
        return Reply(v2.encode(await _told(serving, endpoint, version, what)))
    raise nowhere(request, HINT)


def version_of(serving: Answering, endpoint: Endpoint, text: str | None) -> tuple[Endpoint, int]:
    """Return what answers a request that names a version; the version is 0 where it names none."""
    return numbered(serving, endpoint, text) if text else (endpoint, 0)


async def _infer(serving: Answering, request: Request, endpoint: Endpoint, version: int) -> Reply:
    started = perf_counter_ns()
    asked, rows = await read_whole(serving, endpoint, request.body, request.header(_LENGTH))
    given = named(serving, endpoint, asked, started, version, rows)
    return replied(await serving.predict(given), asked)


async def read_whole(
    serving: Answering, endpoint: Endpoint, body: bytes, length: str, *, patient: bool = False
) -> tuple[v2.InferRequest, v2.Rows | None]:
    """Read an infer request as `read`; where that takes long its rows, too, as `read_aside`."""
    if length or not is_large(body):
        return read(body, length), None
    given = body, endpoint.inputs
    return await read_aside(serving, endpoint, _read_rows, *given, patient=patient)


def _read_rows(body: bytes, inputs: v2.Inputs) -> tuple[v2.InferRequest, v2.Rows]:
    """Return a request without its tensors, and what they are."""
    asked = v2.infer_request(body)
    rest = v2.InferRequest([], asked.id, asked.parameters, asked.outputs)
    return rest, tensors.rows(asked, inputs)


def read(body: bytes, length: str) -> v2.InferRequest:
    """Read an infer request; with a `length` of its JSON, tensors may follow that."""
    return v2_binary.infer_request(body, length) if length else v2.infer_request(body)


def replied(predicted: Predicted, asked: v2.InferRequest) -> Reply:
    """Return an answer as it was asked for: in JSON, or with its tensor as raw bytes."""
    arms = arm_headers(predicted, longest=0)  # the body has them by row
    if v2_binary.is_wanted(asked):
        told = written(predicted, asked.outputs, raw=True)
        return v2_binary.reply(*v2_binary.answer(told, asked), arms)
    return Reply(v2.encode(written(predicted, asked.outputs)), headers=arms)


async def _explain(serving: Answering, request: Request, endpoint: Endpoint, version: int) -> Reply:
    asked, rows = await read_whole(serving, endpoint, request.body, request.header(_LENGTH))
    return await explaining.in_v2(serving, endpoint, asked, version, rows)


_ASKED = {"infer": _infer, "explain": _explain}


def named(
    serving: Answering,
    endpoint: Endpoint,
    read: v2.InferRequest,
    started: int,
    version: int = 0,
    rows: v2.Rows | None = None,
) -> Asked:
    """Return a request that was read with its rows, named, as every way to V2 does it.

    Its tensors are read here unless there are `rows` already.

    Raises:
        Invalid: If its tensors are not the model's inputs, or it asks for an output there is not.
    """
    endpoint.outputs.chosen(names_of(read.outputs))
    return serving.asked(
        endpoint,
        tensors.rows(read, endpoint.inputs) if rows is None else rows,
        started,
        request_id=read.id or "",
        parameters=read.parameters,
        version=version,
    )


def names_of(asked: Sequence[v2.OutputAsked] | None) -> list[str]:
    """Return the names of the outputs that are asked for."""
    return [one.name for one in asked or ()]


def told_of(predicted: Predicted, asked: Sequence[v2.OutputAsked] | None) -> list[Told]:
    """Return the outputs that are answered, as they are asked for."""
    told = predicted.told(names_of(asked))
    return ranked(told, asked, predicted.endpoint.outputs.classes) if asked else told


def written(
    predicted: Predicted, asked: Sequence[v2.OutputAsked] | None, *, raw: bool = False
) -> v2.InferAnswer:
    """Return an answer in the protocol's fields; its data as arrays where they stay `raw`."""
    return v2.InferAnswer(
        predicted.endpoint.model,
        str(predicted.version),
        predicted.request_id,
        v2.AnswerParameters(
            predicted.ids, predicted.versions, predicted.fallback, predicted.arms or None
        ),
        [
            v2.Output(
                spec.name,
                list(values.shape),
                spec.datatype,
                values if raw else plain(values.reshape(-1)),
            )
            for spec, values in told_of(predicted, asked)
        ],
    )


async def _label(serving: Answering, request: Request, endpoint: Endpoint) -> Reply:
    if is_large(request.body):
        asked = await read_aside(serving, endpoint, v2.label_request, request.body)
    else:
        asked = v2.label_request(request.body)
    number = endpoint.outputs.label_of
    labels = [number(label, f"$.labels[{i}]") for i, label in enumerate(asked.labels)]
    serving.label(endpoint, asked.ids, labels)
    return Reply(v2.encode({"accepted": len(asked.ids)}))


def _state(serving: Answering, request: Request, path: str) -> Reply:
    if path == "/v2/health/live":
        return Reply(v2.encode({"live": True}))
    if path == "/v2/health/ready":
        return ready(serving)
    if path == "/v2":
        about = {"name": "setpoint", "version": v2.VERSION, "extensions": EXTENSIONS}
        return Reply(v2.encode(about))
    raise nowhere(request, HINT)


def ready(serving: Answering) -> Reply:
    """Answer whether the server takes requests, and has a model that could answer."""
    return told_ready(serving.unready())


def told_ready(why: str | None) -> Reply:
    """Answer that the server is ready, or why not.

    Raises:
        Unavailable: If it is not.
    """
    if why is not None:
        raise Unavailable(f"not ready: {why}")
    return Reply(v2.encode({"ready": True}))


async def _told(
    serving: Answering, endpoint: Endpoint, version: int, what: str | None
) -> dict[str, Any]:
    if what == "stats":
        return {"model_stats": stats((await serving.counted()).metrics, endpoint, version)}
    if what == "ready":
        state, why = serving.state(endpoint)
        if state != "READY":
            raise Unavailable(f"not ready: {why}")
        return {"name": endpoint.model, "ready": True}
    if what == "config":
        return _config(endpoint)
    return metadata(endpoint)


def metadata(endpoint: Endpoint) -> dict[str, Any]:
    """Return what a model takes and gives, in the protocol's fields; and its classes by name."""
    classes = endpoint.outputs.classes
    return {
        **({"classes": classes} if classes else {}),
        "name": endpoint.model,
        "versions": [str(one.version) for one in endpoint.deployed],
        "platform": "setpoint",
        "inputs": [_tensor(known) for known in endpoint.inputs.specs if known.required],
        "outputs": [_tensor(known) for known in endpoint.outputs.specs],
    }


def _tensor(known: InputSpec | OutputSpec) -> dict[str, Any]:
    return {"name": known.name, "datatype": known.datatype, "shape": [-1, *known.shape]}


def _config(endpoint: Endpoint) -> dict[str, Any]:
    def tensor(known: InputSpec | OutputSpec) -> dict[str, Any]:
        kind = "TYPE_STRING" if known.datatype == "BYTES" else f"TYPE_{known.datatype}"
        return {"name": known.name, "data_type": kind, "dims": [-1, *known.shape]}

    return {
        "name": endpoint.model,
        "platform": "setpoint",
        "backend": "setpoint",
        "max_batch_size": 0,  # the first dimension is among the shapes
        "input": [tensor(known) for known in endpoint.inputs.specs if known.required],
        "output": [tensor(known) for known in endpoint.outputs.specs],
    }


def index(serving: Answering) -> list[dict[str, str]]:
    """Return every version that is served or can be named, and whether it answers at once."""
    found = []
    for endpoint in serving.endpoints.every():
        state, why = serving.state(endpoint)
        found += [
            {"name": endpoint.model, "version": str(one.version), "state": state, "reason": why}
            for one in endpoint.deployed
            if not endpoint.key[1] or not _is_deployed(serving, endpoint)
        ]
    return found


def _is_deployed(serving: Answering, endpoint: Endpoint) -> bool:
    """Tell whether a version that can be named is deployed, too."""
    model, number = endpoint.key
    deployed = serving.endpoints.get(model)
    return deployed is not None and any(one.version == number for one in deployed.deployed)


async def load(serving: Answering, model: str, what: str) -> Reply:
    """Bring a model into memory and keep it there, or let go of it until somebody asks.

    Without a limit of memory all that is served is loaded, and stays. Nothing is served this way
    that no release has deployed.
    """
    endpoint = serving.endpoint(model)
    if serving.endpoints.memory.limit is None:
        if what == "unload":
            raise Invalid(
                f"{model!r} is live", hint="what is served follows the releases of a model"
            )
    elif what == "load":
        await serving.bringing.pin(endpoint)
    else:
        await serving.bringing.give_up(endpoint)
    return Reply(b"{}")


PROTOCOL = Protocol(lambda path: path == "/v2" or path.startswith("/v2/"), _answer, failed)
