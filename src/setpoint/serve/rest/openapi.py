"""What the port answers over HTTP, as an OpenAPI 3.1 document with the models that are served.

Written by hand from the protocols: their requests are read by decoders that allow more than a
schema can say well (data flat or nested, rows as objects or arrays), so a schema here is
what a client should send, and every answer is as it says.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from setpoint.serve import v2
from setpoint.serve.answering import Answering
from setpoint.serve.endpoints import Endpoint
from setpoint.serve.eventstream import KIND
from setpoint.serve.rest.formats import TABLES
from setpoint.serve.rest.schemas import (
    ANY,
    INTEGER,
    SCHEMAS,
    STRING,
    Schema,
    array,
    fields,
    ref,
)

_JSON, _TEXT, _LINES = "application/json", "text/plain", "application/jsonlines"
_RAW = "application/octet-stream"


def document(serving: Answering) -> Schema:
    """Return the document."""
    served = serving.endpoints.all()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Setpoint inference",
            "version": v2.VERSION,
            "description": "Open Inference Protocol V2, KServe V1 and TensorFlow Serving, MLflow "
            "scoring and SageMaker, on one port. Served now: " + (", ".join(served) or "no model"),
        },
        "paths": _paths(list(served.values()), list(serving.endpoints.every())),
        "components": {"schemas": SCHEMAS},
    }


def methods(path: str) -> str:
    """Return the methods that an address is answered to, by commas; empty: there is no such."""
    plain = _VERSION.sub("", path.rstrip("/") or "/")
    found = {method for known, which in _addresses() if known.fullmatch(plain) for method in which}
    return ", ".join(sorted(found | ({"HEAD"} if "GET" in found else set())))


#: What names a version within an address, in any of the protocols.
_VERSION = re.compile(r"(?<=.)/(?:versions|labels)/[^/:]+")


@cache
def _addresses() -> list[tuple[re.Pattern[str], list[str]]]:
    """Return every address as a pattern, with its methods."""
    found = []
    for path, operations in _paths((), ()).items():
        pattern = re.sub(r"\\{\w+\\}", "[^/:]+", re.escape(path))
        found.append((re.compile(pattern), [method.upper() for method in operations]))
    return found


def _paths(served: Sequence[Endpoint], every: Sequence[Endpoint]) -> Schema:
    names = [one.model for one in served]
    return {**_v2(served, every), **_v1(names), **_invocations(names), **_health()}


def _content(schema: Schema, *kinds: str, examples: Schema | None = None) -> Schema:
    media: Schema = {"schema": schema}
    if examples:
        media["examples"] = examples
    return {_JSON: media, **{kind: {"schema": ANY} for kind in kinds}}


def _operation(
    summary: str,
    tag: str,
    answer: Schema,
    *,
    body: Schema | None = None,
    named: Sequence[Schema] = (),
    error: str = "Error",
    status: str = "200",
) -> Schema:
    """Return an operation; `answer` and `body` are media types with their schemas."""
    failed = {"description": "What was wrong.", "content": _content(ref(error), _TEXT)}
    found: Schema = {
        "summary": summary,
        "tags": [tag],
        "responses": {
            status: {"description": "Done.", "content": answer},
            "4XX": failed,
            "5XX": failed,
        },
    }
    if named:
        found["parameters"] = list(named)
    if body is not None:
        found["requestBody"] = {"required": True, "content": body}
    return found


def _in_path(name: str, schema: Schema) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _one_of(names: Sequence[str]) -> Schema:
    return _in_path("model", {"type": "string", "enum": list(names)} if names else STRING)


def _v2(served: Sequence[Endpoint], every: Sequence[Endpoint]) -> Schema:
    model = _one_of([one.model for one in served])
    versions = sorted({str(d.version) for one in every for d in one.deployed})
    number: Schema = {"type": "string", "enum": versions} if versions else STRING
    job = _in_path("job", {"type": "string", "pattern": "^[A-Za-z0-9_]+$"})
    version = _in_path("version", number)
    asked = _content(ref("InferRequest"), examples={one.model: _example(one) for one in served})
    told = _content(ref("InferAnswer"), _RAW)
    tag = "Open Inference Protocol V2"
    paths: Schema = {}
    for at, named in (("", (model,)), ("/versions/{version}", (model, version))):
        base = f"/v2/models/{{model}}{at}"
        paths |= {
            base: {
                "get": _operation(
                    "What a model takes and gives", tag, _content(ref("Metadata")), named=named
                )
            },
            f"{base}/ready": {
                "get": _operation(
                    "Whether it answers", tag, _content({"type": "object"}), named=named
                )
            },
            f"{base}/config": {
                "get": _operation("Its configuration", tag, _content(fields("name")), named=named)
            },
            f"{base}/stats": {
                "get": _operation("What it answered", tag, _content(ref("Statistics")), named=named)
            },
            f"{base}/infer": {"post": _operation("Predict", tag, told, body=asked, named=named)},
            f"{base}/explain": {
                "post": _operation(
                    "Explain", tag, _content(ref("ExplainAnswer")), body=asked, named=named
                )
            },
        }
    base = "/v2/models/{model}"
    one_job = _content(ref("Job"))
    either = (model, job)
    index = array(fields("name version state reason"))
    return paths | {
        f"{base}/labels": {
            "post": _operation(
                "Say what turned out",
                tag,
                _content(fields("accepted", accepted=INTEGER)),
                body=_content(ref("Labels")),
                named=(model,),
            )
        },
        f"{base}/jobs": {
            "post": _operation(
                "Leave a request, to fetch its answer later",
                tag,
                one_job,
                body=asked,
                named=(model,),
                status="202",
            ),
            "get": _operation(
                "List jobs", tag, _content(fields("jobs", jobs=array(ref("Job")))), named=(model,)
            ),
        },
        f"{base}/jobs/{{job}}": {
            "get": _operation("How far a job is", tag, one_job, named=either),
            "delete": _operation("Cancel a job", tag, one_job, named=either),
        },
        f"{base}/jobs/{{job}}/cancel": {
            "post": _operation("Cancel a job", tag, one_job, named=either)
        },
        f"{base}/jobs/{{job}}/result": {
            "get": _operation("A job's answer", tag, told, named=either)
        },
        "/v2": {
            "get": _operation("About the server", tag, _content(fields("name version extensions")))
        },
        "/v2/health/live": {"get": _operation("Whether it runs", tag, _content(fields("live")))},
        "/v2/health/ready": {
            "get": _operation("Whether it takes requests", tag, _content(fields("ready")))
        },
        "/v2/models/stats": {
            "get": _operation("What all answered", tag, _content(ref("Statistics")))
        },
        "/v2/repository/index": {"post": _operation("List versions", tag, _content(index))},
        "/v2/repository/models/{model}/load": {
            "post": _operation(
                "Load what is served: changes nothing",
                tag,
                _content({"type": "object"}),
                named=(model,),
            )
        },
        "/v2/repository/models/{model}/unload": {
            "post": _operation(
                "Refused: releases decide", tag, _content({"type": "object"}), named=(model,)
            )
        },
    }


def _example(endpoint: Endpoint) -> Schema:
    """Return a request of one row that fits a model."""

    def tensor(known: v2.InputSpec) -> Schema:
        shape = [1, *(max(size, 1) for size in known.shape)]
        value: Any = "" if known.datatype == "BYTES" or known.text else 0
        data = [value] * v2.size_of(shape)
        return {"name": known.name, "shape": shape, "datatype": known.datatype, "data": data}

    inputs = [tensor(known) for known in endpoint.inputs.specs if known.required]
    return {"value": {"inputs": inputs}}


def _v1(served: Sequence[str]) -> Schema:
    tag, model = "KServe V1 and TensorFlow Serving", _one_of(served)
    base = "/v1/models/{model}"
    either = {"anyOf": [fields("predictions"), fields("outputs")]}
    predict, examples = _content(ref("Predict")), _content(ref("Examples"))
    results = _content(fields("results"))
    return {
        "/v1/models": {"get": _operation("List models", tag, _content(fields("models")))},
        base: {
            "get": _operation(
                "A model's state",
                tag,
                _content(fields("name ready model_version_status")),
                named=(model,),
            )
        },
        f"{base}/metadata": {
            "get": _operation(
                "Its signature", tag, _content(fields("model_spec metadata")), named=(model,)
            )
        },
        f"{base}:predict": {
            "post": _operation("Predict", tag, _content(either), body=predict, named=(model,))
        },
        f"{base}:explain": {
            "post": _operation(
                "Explain", tag, _content(fields("explanations")), body=predict, named=(model,)
            )
        },
        f"{base}:classify": {
            "post": _operation("Classify", tag, results, body=examples, named=(model,))
        },
        f"{base}:regress": {
            "post": _operation("Regress", tag, results, body=examples, named=(model,))
        },
    }


def _invocations(served: Sequence[str]) -> Schema:
    mlflow, amazon = "MLflow scoring", "SageMaker"
    model = _one_of(served)
    body = _content(ref("Invocation"), "text/csv", _LINES, *TABLES)
    told = _content(
        fields("predictions", predictions={"type": "array"}), "text/csv", _LINES, *TABLES
    )
    text = {_TEXT: {"schema": STRING}}

    def asked(tag: str, error: str, *named: Schema) -> Schema:
        return {"post": _operation("Predict", tag, told, body=body, named=named, error=error)}

    loaded = fields("modelName modelUrl", modelName=STRING, modelUrl=STRING)
    paths = {
        path: {"get": _operation(said, mlflow, text, error="MlflowError")}
        for path, said in (("/ping", "Health"), ("/health", "Health"), ("/version", "Version"))
    }
    error = "SageMakerError"
    return {
        **paths,
        "/invocations": asked(mlflow, "MlflowError"),
        "/models/{model}/invoke": asked(amazon, error, model),
        "/models/{model}/invocations": asked(amazon, error, model),
        "/endpoints/{model}/invocations": asked(amazon, error, model),
        "/endpoints/{model}/invocations-response-stream": {
            "post": _operation(
                "Predict, the answer in parts",
                amazon,
                {KIND.decode(): {"schema": ANY}},
                body=body,
                named=(model,),
                error=error,
            )
        },
        "/endpoints/{model}/async-invocations": {
            "post": _operation(
                "Predict later, from and to S3",
                amazon,
                _content(fields("InferenceId", InferenceId=STRING)),
                named=(model,),
                error=error,
                status="202",
            )
        },
        "/models/{model}/ping": {
            "get": _operation("Health", amazon, text, named=(model,), error=error)
        },
        "/models/{model}": {
            "get": _operation("A model", amazon, _content(loaded), named=(model,), error=error),
            "delete": _operation(
                "Refused: releases decide", amazon, _content({}), named=(model,), error=error
            ),
        },
        "/models": {
            "get": _operation("List models", amazon, _content(fields("models")), error=error),
            "post": _operation(
                "Refused: loaded already, or not known",
                amazon,
                _content({}),
                error=error,
                body=_content(fields("model_name", model_name=STRING, url=STRING)),
            ),
        },
    }


def _health() -> Schema:
    tag = "Operating"
    metrics = {_TEXT: {"schema": STRING}}
    return {
        "/": {"get": _operation("Whether it runs", tag, _content(fields("status")))},
        "/healthz": {
            "get": _operation("Whether it takes requests", tag, _content(fields("ready")))
        },
        "/metrics": {"get": _operation("Metrics for Prometheus", tag, metrics)},
        "/openapi.json": {"get": _operation("This document", tag, _content({"type": "object"}))},
    }
