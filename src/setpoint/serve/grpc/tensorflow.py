"""TensorFlow Serving over gRPC: predictions, classes, values, and what is served.

Source: TensorFlow Serving's ``prediction_service.proto``, ``model_service.proto`` and the messages
they name. A label of a version is its part in a release: ``live`` or ``canary``.
"""

from collections.abc import Mapping, Sequence
from time import perf_counter_ns
from typing import Any

import numpy as np

from setpoint.errors import Invalid
from setpoint.serve import blobs, columns, v2, v2_binary
from setpoint.serve.answering import Answering
from setpoint.serve.endpoints import Endpoint
from setpoint.serve.grpc.calls import Told, service
from setpoint.serve.grpc.messages import declare
from setpoint.serve.outputs import OutputSpec
from setpoint.serve.prediction import Predicted
from setpoint.serve.rest.tensorflow import SIGNATURE, check_signature, state_of, version_of
from setpoint.serve.v2 import InputSpec

_m = declare(
    "setpoint.tensorflow",
    """
    Dim: int64 size=1; string name=2
    Shape: Dim* dim=2; bool unknown_rank=3
    Tensor:
        int32 dtype=1; Shape tensor_shape=2; bytes tensor_content=4; float* float_val=5
        double* double_val=6; int32* int_val=7; bytes* string_val=8; int64* int64_val=10
        bool* bool_val=11; int32* half_val=13; uint32* uint32_val=16; uint64* uint64_val=17
    ModelSpec:
        string name=1; google.protobuf.Int64Value version=2; string signature_name=3
        string version_label=4
    Predict: ModelSpec model_spec=1; Tensor> inputs=2; string* output_filter=3
    Predicted: Tensor> outputs=1; ModelSpec model_spec=2
    Bytes: bytes* value=1
    Floats: float* value=1
    Ints: int64* value=1
    Feature: Bytes bytes_list=1; Floats float_list=2; Ints int64_list=3
    Features: Feature> feature=1
    Example: Features features=1
    Examples: Example* examples=1
    ExamplesWithContext: Example* examples=1; Example context=2
    Input: Examples example_list=1; ExamplesWithContext example_list_with_context=2
    Asked: ModelSpec model_spec=1; Input input=2
    Class: string label=1; float score=2
    Classes: Class* classes=1
    ClassificationResult: Classes* classifications=1
    Classified: ClassificationResult result=1; ModelSpec model_spec=2
    Value: float value=1
    RegressionResult: Value* regressions=1
    Regressed: RegressionResult result=1; ModelSpec model_spec=2
    StatusAsked: ModelSpec model_spec=1
    Status: int32 error_code=1; string error_message=2
    VersionStatus: int64 version=1; int32 state=2; Status status=3
    ModelStatus: VersionStatus* model_version_status=1
    MetadataAsked: ModelSpec model_spec=1; string* metadata_field=2
    TensorInfo: string name=1; int32 dtype=2; Shape tensor_shape=3
    Signature: TensorInfo> inputs=1; TensorInfo> outputs=2; string method_name=3
    Signatures: Signature> signature_def=1
    Metadata: ModelSpec model_spec=1; google.protobuf.Any> metadata=2
    """,
)

#: By TensorFlow's name of a version's state: its number.
_STATES = {"START": 10, "LOADING": 20, "AVAILABLE": 30, "END": 50}
_DOUBLE, _STRING = 2, 7
_MOST_FILLED = 1_000_000  #: values that a single one may stand for; each takes memory here
#: By TensorFlow's number of a datatype: how its raw bytes are read, and the list it may be in.
_DTYPES: dict[int, tuple[str, str]] = {
    1: ("<f4", "float_val"),
    2: ("<f8", "double_val"),
    3: ("<i4", "int_val"),
    4: ("|u1", "int_val"),
    5: ("<i2", "int_val"),
    6: ("|i1", "int_val"),
    9: ("<i8", "int64_val"),
    10: ("|b1", "bool_val"),
    17: ("<u2", "int_val"),
    19: ("<f2", ""),
    22: ("<u4", "uint32_val"),
    23: ("<u8", "uint64_val"),
}
#: TensorFlow's number of a datatype of V2.
_NUMBERS = {
    **dict(zip(("FP32", "FP64", "INT32", "UINT8", "INT16", "INT8"), range(1, 7), strict=True)),
    "BYTES": 7,
    "INT64": 9,
    "BOOL": 10,
    "UINT16": 17,
    "FP16": 19,
    "UINT32": 22,
    "UINT64": 23,
}
_SIGNATURES_URL = "type.googleapis.com/tensorflow.serving.SignatureDefMap"


def services(serving: Answering) -> Sequence[Any]:
    """Return what answers the two services' calls."""
    return (
        service(
            serving,
            "tensorflow.serving.PredictionService",
            {
                "Predict": (_predict, _m.Predict, _m.Predicted),
                "Classify": (_classify, _m.Asked, _m.Classified),
                "Regress": (_regress, _m.Asked, _m.Regressed),
                "GetModelMetadata": (_metadata, _m.MetadataAsked, _m.Metadata),
            },
        ),
        service(
            serving,
            "tensorflow.serving.ModelService",
            {"GetModelStatus": (_status, _m.StatusAsked, _m.ModelStatus)},
        ),
    )


def _asked_of(serving: Answering, spec: Any) -> tuple[Endpoint, int]:
    """Return the endpoint and the version that a request names, 0 where it names none."""
    endpoint = serving.endpoint(spec.name)
    check_signature(spec.signature_name)
    version = str(spec.version.value) if spec.HasField("version") else None
    return version_of(serving, endpoint, version, spec.version_label or None)


def _spec(endpoint: Endpoint, version: int) -> Any:
    spec = _m.ModelSpec(name=endpoint.model, signature_name=SIGNATURE)
    spec.version.value = version
    return spec


async def _predict(serving: Answering, request: Any) -> Any:
    started = perf_counter_ns()
    endpoint, version = _asked_of(serving, request.model_spec)
    names = list(request.output_filter)
    endpoint.outputs.chosen(names, "output_filter")
    rows = _rows(request.inputs, endpoint.inputs)
    predicted = await serving.predict(serving.asked(endpoint, rows, started, version=version))
    outputs = {spec.name: _tensor(spec, values) for spec, values in predicted.told(names)}
    spec = _spec(endpoint, predicted.version)
    return Told(_m.Predicted(outputs=outputs, model_spec=spec), predicted)


def _tensor(spec: OutputSpec, values: Any) -> Any:
    """Return an output as a tensor; what is none is NaN, zero, or an empty text."""
    kind = _NUMBERS[spec.datatype]
    shape = _m.Shape(dim=[_m.Dim(size=size) for size in values.shape])
    if kind == _STRING:
        texts = [blobs.encoded(each) for each in values.reshape(-1)]
        return _m.Tensor(dtype=kind, tensor_shape=shape, string_val=texts)
    if kind == _DOUBLE:
        return _m.Tensor(dtype=kind, tensor_shape=shape, double_val=values.reshape(-1).tolist())
    content = v2_binary.raw_of(values, spec.datatype)
    return _m.Tensor(dtype=kind, tensor_shape=shape, tensor_content=content)


def _rows(tensors: Mapping[str, Any], inputs: v2.Inputs) -> v2.Rows:
    """Read one tensor a column, or one matrix under a name that is no column's."""
    named = {name: _values(tensor, f"inputs.{name}") for name, tensor in tensors.items()}
    if len(named) == 1:
        ((name, values),) = named.items()
        if name not in inputs.names and isinstance(values, np.ndarray) and values.ndim == 2:
            return columns.from_matrix(values, inputs, f"inputs.{name}")
    return columns.from_columns(named, inputs, "inputs")


def _values(tensor: Any, where: str) -> Any:
    """Return the values of a tensor in its shape; a single one may stand for all."""
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.dtype == _STRING:
        return _strings(tensor, shape, where)
    found = _DTYPES.get(tensor.dtype)
    if found is None:
        raise Invalid(f"the datatype {tensor.dtype} is not known", where=where, hint="send doubles")
    dtype, field = np.dtype(found[0]), found[1]
    if tensor.tensor_content:
        if len(tensor.tensor_content) % dtype.itemsize:
            raise _misshapen(shape, where)
        values = np.frombuffer(tensor.tensor_content, dtype)
    elif field:
        values = np.array(getattr(tensor, field))
    else:
        values = np.array(tensor.half_val, np.uint16).view(dtype)
    size = v2.size_of(shape)
    if values.size == 1 < size <= _MOST_FILLED:
        values = np.full(size, values[0])
    if values.size != size:
        raise _misshapen(shape, where)
    try:
        return values.reshape(shape)
    except (ValueError, OverflowError):  # nothing fills it, and it is too large for an array
        raise _misshapen(shape, where) from None


def _strings(tensor: Any, shape: list[int], where: str) -> list[bytes]:
    texts = list(tensor.string_val)
    if len(texts) != v2.size_of(shape):
        raise _misshapen(shape, where)
    return texts


def _misshapen(shape: list[int], where: str) -> Invalid:
    return Invalid(f"the values do not fill the shape {shape}", where=where)


async def _classify(serving: Answering, request: Any) -> Any:
    predicted = await _of_examples(serving, request, "classify")
    names, probabilities = predicted.classified()
    classes = [
        _m.Classes(classes=[_m.Class(label=n, score=p) for n, p in zip(names, row, strict=True)])
        for row in probabilities.tolist()
    ]
    result = _m.ClassificationResult(classifications=classes)
    spec = _spec(predicted.endpoint, predicted.version)
    return Told(_m.Classified(result=result, model_spec=spec), predicted)


async def _regress(serving: Answering, request: Any) -> Any:
    predicted = await _of_examples(serving, request, "regress")
    result = _m.RegressionResult(regressions=[_m.Value(value=score) for score in predicted.scores])
    spec = _spec(predicted.endpoint, predicted.version)
    return Told(_m.Regressed(result=result, model_spec=spec), predicted)


async def _of_examples(serving: Answering, request: Any, what: str) -> Predicted:
    started = perf_counter_ns()
    endpoint, version = _asked_of(serving, request.model_spec)
    endpoint.outputs.require(what)
    given, context = request.input.example_list.examples, {}
    if request.input.HasField("example_list_with_context"):
        shared = request.input.example_list_with_context
        given, context = shared.examples, _record(shared.context)
    records = [context | _record(example) for example in given]
    rows = columns.from_records(records, endpoint.inputs, "input.examples")
    return await serving.predict(serving.asked(endpoint, rows, started, version=version))


def _record(example: Any) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for name, feature in example.features.feature.items():
        texts = feature.bytes_list.value
        values = [*feature.float_list.value, *feature.int64_list.value]
        values += [text.decode(errors="replace") for text in texts]
        record[name] = values[0] if len(values) == 1 else (values or None)
    return record


def _kind_of(known: InputSpec) -> int:
    """Return TensorFlow's number for an input; a lone value a row is a double, as any fits."""
    if known.blob:
        return _NUMBERS[known.datatype]
    return _STRING if known.text else _DOUBLE


async def _status(serving: Answering, request: Any) -> Any:
    endpoint, version = _asked_of(serving, request.model_spec)
    state = _STATES[state_of(serving, endpoint)[0]]
    return _m.ModelStatus(
        model_version_status=[
            _m.VersionStatus(version=one.version, state=state, status=_m.Status())
            for one in endpoint.deployed
            if version in {0, one.version}
        ]
    )


async def _metadata(serving: Answering, request: Any) -> Any:
    endpoint, version = _asked_of(serving, request.model_spec)
    for field in request.metadata_field:
        if field != "signature_def":
            hint = "ask for signature_def"
            raise Invalid(f"there is no metadata field {field!r}", hint=hint)

    def told(known: InputSpec | OutputSpec, kind: int) -> Any:
        shape = _m.Shape(dim=[_m.Dim(size=size) for size in (-1, *known.shape)])
        return _m.TensorInfo(name=f"{known.name}:0", dtype=kind, tensor_shape=shape)

    taken = [known for known in endpoint.inputs.specs if known.required]
    inputs = {known.name: told(known, _kind_of(known)) for known in taken}
    signature = _m.Signature(
        inputs=inputs,
        outputs={
            known.name: told(known, _NUMBERS[known.datatype]) for known in endpoint.outputs.specs
        },
        method_name="tensorflow/serving/predict",
    )
    answer = _m.Metadata(model_spec=_spec(endpoint, version or endpoint.live.version))
    packed = answer.metadata["signature_def"]
    packed.type_url = _SIGNATURES_URL
    packed.value = _m.Signatures(signature_def={SIGNATURE: signature}).SerializeToString()
    return answer
