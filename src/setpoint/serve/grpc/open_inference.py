"""The Open Inference Protocol V2 over gRPC, with what Triton's clients ask besides.

Source: the protocol's ``grpc_predict_v2.proto``, and Triton's ``grpc_service.proto`` for
configuration, statistics, the repository and streams. Prediction ids and routing keys are texts
with commas among a request's parameters, as ``ids`` and ``keys``.
"""

from collections.abc import AsyncIterator, Sequence
from time import perf_counter_ns
from typing import Any

import numpy as np

from setpoint.errors import Invalid, SetpointError
from setpoint.serve import blobs, problems, v2, v2_binary
from setpoint.serve.answering import Answering
from setpoint.serve.grpc.calls import Told, code_of, service, stream
from setpoint.serve.grpc.messages import declare
from setpoint.serve.prediction import Predicted
from setpoint.serve.rest import open_inference as rest
from setpoint.serve.rest.statistics import every_stats, stats

_NAME = "inference.GRPCInferenceService"

_m = declare(
    "setpoint.v2",
    """
    Empty:
    Live: bool live=1
    Ready: bool ready=1
    Named: string name=1; string version=2
    ServerMetadata: string name=1; string version=2; string* extensions=3
    TensorMetadata: string name=1; string datatype=2; int64* shape=3
    ModelMetadata:
        string name=1; string* versions=2; string platform=3; TensorMetadata* inputs=4
        TensorMetadata* outputs=5
    Parameter:
        bool bool_param=1; int64 int64_param=2; string string_param=3; double double_param=4
        uint64 uint64_param=5
    Contents:
        bool* bool_contents=1; int32* int_contents=2; int64* int64_contents=3
        uint32* uint_contents=4; uint64* uint64_contents=5; float* fp32_contents=6
        double* fp64_contents=7; bytes* bytes_contents=8
    Tensor:
        string name=1; string datatype=2; int64* shape=3; Parameter> parameters=4
        Contents contents=5
    OutputAsked: string name=1; Parameter> parameters=2
    Infer:
        string model_name=1; string model_version=2; string id=3; Parameter> parameters=4
        Tensor* inputs=5; OutputAsked* outputs=6; bytes* raw_input_contents=7
    Inferred:
        string model_name=1; string model_version=2; string id=3; Parameter> parameters=4
        Tensor* outputs=5; bytes* raw_output_contents=6
    Streamed: string error_message=1; Inferred infer_response=2
    ConfigTensor: string name=1; int32 data_type=2; int64* dims=4
    ConfigOutput: string name=1; int32 data_type=2; int64* dims=3
    Config:
        string name=1; string platform=2; int32 max_batch_size=4; ConfigTensor* input=5
        ConfigOutput* output=6; string backend=17
    ModelConfig: Config config=1
    Duration: uint64 count=1; uint64 ns=2
    InferStatistics:
        Duration success=1; Duration fail=2; Duration queue=3; Duration compute_input=4
        Duration compute_infer=5; Duration compute_output=6; Duration cache_hit=7
        Duration cache_miss=8
    BatchStatistics:
        uint64 batch_size=1; Duration compute_input=2; Duration compute_infer=3
        Duration compute_output=4
    Statistics:
        string name=1; string version=2; uint64 last_inference=3; uint64 inference_count=4
        uint64 execution_count=5; InferStatistics inference_stats=6
        BatchStatistics* batch_stats=7
    ModelStatistics: Statistics* model_stats=1
    IndexAsked: string repository_name=1; bool ready=2
    Indexed: string name=1; string version=2; string state=3; string reason=4
    Index: Indexed* models=1
    Load: string repository_name=1; string model_name=2
    """,
)

#: Which list of a tensor's contents has values of a datatype.
_CONTENTS = {
    "BOOL": "bool_contents",
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
}
_CONFIG_TYPES = dict(
    zip(
        ("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
        range(1, 10),
        strict=True,
    )
) | {"FP16": 10, "FP32": 11, "FP64": 12, "BYTES": 13}


def services(serving: Answering) -> Sequence[Any]:
    """Return what answers the protocol's calls."""
    return (
        service(
            serving,
            _NAME,
            {
                "ServerLive": (_live, _m.Empty, _m.Live),
                "ServerReady": (_ready, _m.Empty, _m.Ready),
                "ModelReady": (_model_ready, _m.Named, _m.Ready),
                "ServerMetadata": (_server_metadata, _m.Empty, _m.ServerMetadata),
                "ModelMetadata": (_model_metadata, _m.Named, _m.ModelMetadata),
                "ModelInfer": (_infer, _m.Infer, _m.Inferred),
                "ModelConfig": (_config, _m.Named, _m.ModelConfig),
                "ModelStatistics": (_statistics, _m.Named, _m.ModelStatistics),
                "RepositoryIndex": (_index, _m.IndexAsked, _m.Index),
                "RepositoryModelLoad": (_load, _m.Load, _m.Empty),
                "RepositoryModelUnload": (_unload, _m.Load, _m.Empty),
            },
        ),
        stream(serving, _NAME, "ModelStreamInfer", _stream, _m.Infer, _m.Streamed),
    )


async def _live(_serving: Answering, _request: Any) -> Any:
    return _m.Live(live=True)


async def _ready(serving: Answering, _request: Any) -> Any:
    return _m.Ready(ready=serving.unready() is None)


async def _model_ready(serving: Answering, request: Any) -> Any:
    try:
        endpoint = serving.endpoint(request.name)
        endpoint, _ = rest.version_of(serving, endpoint, request.version)
    except SetpointError:
        return _m.Ready(ready=False)
    return _m.Ready(ready=serving.state(endpoint)[0] == "READY")


async def _server_metadata(_serving: Answering, _request: Any) -> Any:
    return _m.ServerMetadata(name="setpoint", version=v2.VERSION, extensions=rest.EXTENSIONS)


async def _model_metadata(serving: Answering, request: Any) -> Any:
    endpoint = serving.endpoint(request.name)
    endpoint, _ = rest.version_of(serving, endpoint, request.version)
    told = rest.metadata(endpoint)
    told.pop("classes", None)  # the message has no place for them
    return _m.ModelMetadata(**told)


async def _infer(serving: Answering, request: Any) -> Any:
    started = perf_counter_ns()
    endpoint = serving.endpoint(request.model_name)
    endpoint, version = rest.version_of(serving, endpoint, request.model_version)
    tensors = _tensors(request)
    parameters = v2.Parameters(
        ids=_texts(request, "ids"),
        keys=_texts(request, "keys"),
        route=request.parameters["route"].string_param if "route" in request.parameters else "",
    )
    outputs = [v2.OutputAsked(each.name, _asked_of(each)) for each in request.outputs]
    read = v2.InferRequest(tensors, request.id, parameters, outputs)
    asked = rest.named(serving, endpoint, read, started, version)
    predicted = await serving.predict(asked)
    return Told(_answer(predicted, outputs, raw=bool(request.raw_input_contents)), predicted)


def _asked_of(output: Any) -> v2.OutputParameters | None:
    """Return what a request asks of an output besides its name."""
    if "classification" not in output.parameters:
        return None
    count = output.parameters["classification"].int64_param
    if count < 0:
        raise Invalid(
            f"there are no {count} classes", where="outputs", hint="send a number above 0"
        )
    return v2.OutputParameters(classification=count)


async def _stream(serving: Answering, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Answer each request once: what may come in many answers says that this one is its last.

    Triton does so whether a client asks for ``triton_enable_empty_final_response`` or not.
    """
    async for request in requests:
        try:
            answer, _ = await _infer(serving, request)
            told = _m.Streamed(infer_response=answer)
        except SetpointError as error:
            serving.metrics.errs(code_of(error).name)
            told = _m.Streamed(error_message=problems.said(error))
            told.infer_response.id = request.id
            told.infer_response.model_name = request.model_name
            told.infer_response.model_version = request.model_version
        told.infer_response.parameters["triton_final_response"].bool_param = True
        yield told


def _tensors(request: Any) -> list[v2.Tensor]:
    """Return the inputs: from raw bytes, one for each of them, or from the lists beside them."""
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise Invalid(
            f"{len(raw)} raw contents for {len(request.inputs)} inputs",
            where="raw_input_contents",
            hint="send raw contents for every input, or for none",
        )
    tensors = []
    for i, tensor in enumerate(request.inputs):
        where = f"inputs[{i}]"
        data = v2_binary.raw(tensor, memoryview(raw[i]), where) if raw else _listed(tensor, where)
        tensors.append(v2_binary.made(tensor, data, where))
    return tensors


def _listed(tensor: Any, where: str) -> Any:
    field = _CONTENTS.get(tensor.datatype)
    if field is None:
        hint = "send it as raw contents" if tensor.datatype == "FP16" else v2.HINTS["datatype"]
        raise Invalid(f"the datatype {tensor.datatype!r} has no list", where=where, hint=hint)
    values = getattr(tensor.contents, field)
    if field != "bytes_contents":
        return np.array(values)
    return list(values)


def _texts(request: Any, name: str) -> list[str] | None:
    if name not in request.parameters:
        return None
    return list(request.parameters[name].string_param.split(","))


def _answer(predicted: Predicted, asked: Sequence[v2.OutputAsked], *, raw: bool) -> Any:
    outputs, contents = [], []
    for spec, values in rest.told_of(predicted, asked):
        outputs.append(_m.Tensor(name=spec.name, datatype=spec.datatype, shape=values.shape))
        if raw or spec.datatype == "FP16":
            contents.append(v2_binary.raw_of(values, spec.datatype))
        else:
            _fill(outputs[-1].contents, spec.datatype, values)
    parameters = {
        "ids": _m.Parameter(string_param=",".join(predicted.ids)),
        "versions": _m.Parameter(string_param=",".join(map(str, predicted.versions))),
    }
    if predicted.fallback:
        parameters["fallback"] = _m.Parameter(bool_param=True)
    if predicted.arms:
        parameters["arms"] = _m.Parameter(string_param=",".join(predicted.arms))
    return _m.Inferred(
        model_name=predicted.endpoint.model,
        model_version=str(predicted.version),
        id=predicted.request_id,
        parameters=parameters,
        outputs=outputs,
        raw_output_contents=contents,
    )


def _fill(contents: Any, datatype: str, values: Any) -> None:
    """Put values into the list of their datatype; what is none is as raw bytes have it."""
    flat = values.reshape(-1)
    if datatype == "BYTES":
        contents.bytes_contents.extend(map(blobs.encoded, flat))
        return
    if flat.dtype == object:
        raw = v2_binary.raw_of(flat, datatype)
        flat = np.frombuffer(raw, blobs.dtype_of(datatype))
    getattr(contents, _CONTENTS[datatype]).extend(flat.tolist())


async def _config(serving: Answering, request: Any) -> Any:
    endpoint = serving.endpoint(request.name)
    endpoint, _ = rest.version_of(serving, endpoint, request.version)
    inputs = [
        _m.ConfigTensor(
            name=known.name, data_type=_CONFIG_TYPES[known.datatype], dims=[-1, *known.shape]
        )
        for known in endpoint.inputs.specs
        if known.required
    ]
    outputs = [
        _m.ConfigOutput(
            name=known.name, data_type=_CONFIG_TYPES[known.datatype], dims=[-1, *known.shape]
        )
        for known in endpoint.outputs.specs
    ]
    config = _m.Config(
        name=endpoint.model,
        platform="setpoint",
        backend="setpoint",
        input=inputs,
        output=outputs,
    )
    return _m.ModelConfig(config=config)


async def _statistics(serving: Answering, request: Any) -> Any:
    if not request.name:
        found = await every_stats(serving)
    else:
        endpoint = serving.endpoint(request.name)
        counted = (await serving.counted()).metrics
        endpoint, version = rest.version_of(serving, endpoint, request.version)
        found = stats(counted, endpoint, version)
    return _m.ModelStatistics(model_stats=found)


async def _index(serving: Answering, _request: Any) -> Any:
    return _m.Index(models=rest.index(serving))


async def _load(serving: Answering, request: Any) -> Any:
    await rest.load(serving, request.model_name, "load")
    return _m.Empty()


async def _unload(serving: Answering, request: Any) -> Any:
    await rest.load(serving, request.model_name, "unload")
    return _m.Empty()
