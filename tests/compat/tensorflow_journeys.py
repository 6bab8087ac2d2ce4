"""Stories of TensorFlow Serving's stubs, and of a client on them: ``python … URL GRPC``."""

import importlib.metadata
import sys
from typing import Any

import grpc
import numpy as np
from min_tfs_client.requests import TensorServingClient
from min_tfs_client.tensors import ndarray_to_tensor_proto, tensor_proto_to_ndarray
from stories import Journeys
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

HOST, _, PORT = sys.argv[2].partition(":")

journey = Journeys()


def stub() -> Any:
    return prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(sys.argv[2]))


def scores(answer: Any) -> list[float]:
    found: list[float] = tensor_proto_to_ndarray(answer.outputs["score"]).tolist()
    return found


@journey
def tensorflow_predicts_columns_of_any_type() -> None:
    client = TensorServingClient(HOST, int(PORT))
    for dtype in (np.float64, np.float32, np.int64, np.int32, np.int8, np.uint8):
        columns = {"a": np.array([1, 3], dtype), "b": np.array([[2], [4]], dtype)}
        assert scores(client.predict_request("m", columns)) == [3.0, 7.0]
    columns = {"a": np.array([1.0, 3.0]), "b": np.array([2.0, 4.5])}
    assert scores(client.predict_request("m", columns, model_version=2)) == [30.0, 75.0]


@journey
def tensorflow_predicts_a_matrix_and_texts() -> None:
    client = TensorServingClient(HOST, int(PORT))
    matrix = {"inputs": np.array([[1.0, 2.0], [3.0, 4.5]])}
    answer = client.predict_request("m", matrix)
    assert scores(answer) == [3.0, 7.5]
    assert answer.model_spec.version.value == 1
    texts = {"a": np.array([1.0, 2.0]), "text": np.array(["grün", ""])}
    assert scores(client.predict_request("t", texts)) == [5.0, 2.0]


@journey
def tensorflow_names_rows_and_version_in_metadata() -> None:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "m"
    request.model_spec.version_label = "canary"
    request.inputs["x"].CopyFrom(ndarray_to_tensor_proto(np.array([[1.0, 2.0]])))
    answer, call = stub().Predict.with_call(request)
    assert scores(answer) == [30.0]
    told = dict(call.trailing_metadata())
    assert told["setpoint-model-version"] == "2"
    assert told["setpoint-prediction-id"].startswith("prd_")


def example(into: Any, **values: float) -> None:
    for name, value in values.items():
        into.features.feature[name].float_list.value.append(value)


@journey
def tensorflow_classifies_and_regresses_examples() -> None:
    request = regression_pb2.RegressionRequest()
    request.model_spec.name = "m"
    shared = request.input.example_list_with_context
    example(shared.context, b=0.25)
    example(shared.examples.add(), a=0.5)
    example(shared.examples.add(), a=0.25, b=0.5)
    result = stub().Regress(request).result
    assert [one.value for one in result.regressions] == [0.75, 0.75]
    asked = classification_pb2.ClassificationRequest()
    asked.model_spec.name = "colour"
    example(asked.input.example_list.examples.add(), x0=0.0, x1=5.0)
    (one,) = stub().Classify(asked).result.classifications
    best = max(one.classes, key=lambda each: each.score)
    assert (best.label, len(one.classes)) == ("blue", 3)
    assert abs(sum(each.score for each in one.classes) - 1) < 1e-6
    asked.model_spec.name = "m"  # which tells no classes apart
    code = None
    try:
        stub().Classify(asked)
    except grpc.RpcError as error:
        code = error.code()
    assert code is grpc.StatusCode.INVALID_ARGUMENT


@journey
def tensorflow_state_and_metadata() -> None:
    models = model_service_pb2_grpc.ModelServiceStub(grpc.insecure_channel(sys.argv[2]))
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "m"
    states = models.GetModelStatus(request).model_version_status
    available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
    assert [(one.version, one.state) for one in states] == [(1, available), (2, available)]
    asked = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    asked.model_spec.name = "m"
    answer = stub().GetModelMetadata(asked)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def["serving_default"].inputs) == {"a", "b"}


@journey
def tensorflow_is_told_what_is_wrong() -> None:
    client = TensorServingClient(HOST, int(PORT))
    good = {"x": np.array([[1.0, 2.0]])}
    for model, columns, version, code in (
        ("other", good, None, grpc.StatusCode.NOT_FOUND),
        ("m", good, 9, grpc.StatusCode.NOT_FOUND),
        ("m", {"a": np.array([1.0])}, None, grpc.StatusCode.INVALID_ARGUMENT),
        ("m", {"x": np.array([[1.0, 2.0, 3.0]])}, None, grpc.StatusCode.INVALID_ARGUMENT),
    ):
        told = None
        try:
            client.predict_request(model, columns, model_version=version)
        except grpc.RpcError as error:
            told = error
        assert told is not None
        assert (told.code(), bool(told.details())) == (code, True)


if __name__ == "__main__":
    journey.tell(lambda _: f"min-tfs-client {importlib.metadata.version('min-tfs-client')}")
