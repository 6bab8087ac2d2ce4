"""Stories of Triton's client over gRPC, as it is: ``python … URL GRPC``."""

import importlib.metadata
import queue
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from stories import Journeys
from tritonclient.utils import InferenceServerException

ROWS = np.array([[1.0, 2.0], [3.0, 4.5]])
SUMS = [3.0, 7.5]

journey = Journeys()


def connected() -> triton.InferenceServerClient:
    return triton.InferenceServerClient(sys.argv[2])


def matrix(rows: Any = ROWS) -> triton.InferInput:
    given = triton.InferInput("x", list(rows.shape), triton.np_to_triton_dtype(rows.dtype))
    given.set_data_from_numpy(rows)
    return given


@journey
def grpc_state_metadata_and_configuration() -> None:
    client = connected()
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("m", "2")
    assert not client.is_model_ready("other")
    assert client.get_server_metadata().name == "setpoint"
    assert list(client.get_model_metadata("m").versions) == ["1", "2"]
    config = client.get_model_config("m", as_json=True)["config"]
    assert [one["data_type"] for one in config["input"]] == ["TYPE_FP64", "TYPE_FP64"]


@journey
def grpc_tensors_of_any_type() -> None:
    client = connected()
    for dtype in (np.float64, np.float32, np.float16, np.int64, np.int8, np.uint16):
        rows = np.array([[1, 2], [3, 4]], dtype)
        assert client.infer("m", [matrix(rows)]).as_numpy("score").tolist() == [3.0, 7.0]
    texts = triton.InferInput("text", [2], "BYTES")
    texts.set_data_from_numpy(np.array(["grün", ""], dtype=object))
    numbers = triton.InferInput("a", [2, 1], "FP64")
    numbers.set_data_from_numpy(np.array([[1.0], [2.0]]))
    assert client.infer("t", [texts, numbers]).as_numpy("score").tolist() == [5.0, 2.0]


@journey
def grpc_texts_as_answers() -> None:
    client = connected()
    given = [matrix(np.array([[0.0, 5.0], [0.0, 0.0]]))]
    answer = client.infer("colour", given)
    assert [each.decode() for each in answer.as_numpy("label")] == ["blue", "grün"]
    assert answer.as_numpy("probabilities").shape == (2, 3)
    asked = client.infer("colour", given, outputs=[triton.InferRequestedOutput("label")])
    assert [each.name for each in asked.get_response().outputs] == ["label"]
    assert [each.decode() for each in asked.as_numpy("label")] == ["blue", "grün"]
    best = [triton.InferRequestedOutput("probabilities", class_count=1)]
    told = client.infer("colour", given, outputs=best).as_numpy("probabilities").ravel()
    assert [each.decode().split(":")[2] for each in told] == ["blue", "grün"]
    config = client.get_model_config("colour", as_json=True)["config"]
    kinds = {one["name"]: one["data_type"] for one in config["output"]}
    assert kinds["label"] == "TYPE_STRING"


@journey
def grpc_ids_versions_and_parameters() -> None:
    client = connected()
    answer = client.infer(
        "m",
        [matrix()],
        request_id="r-3",
        model_version="2",
        parameters={"ids": "grpc-a,grpc-b"},
    )
    assert answer.as_numpy("score").tolist() == [30.0, 75.0]
    told = answer.get_response()
    assert (told.id, told.model_version) == ("r-3", "2")
    assert told.parameters["ids"].string_param == "grpc-a,grpc-b"


@journey
def grpc_packed_many_at_once_and_streamed() -> None:
    client = connected()
    packed = client.infer("m", [matrix()], compression_algorithm="gzip")
    assert packed.as_numpy("score").tolist() == SUMS
    arrived: queue.Queue[Any] = queue.Queue()

    def arrive(result: Any, error: Any) -> None:
        arrived.put((result, error))

    for _ in range(50):
        client.async_infer("m", [matrix()], callback=arrive)
    for _ in range(50):
        found, error = arrived.get(timeout=30)
        assert error is None
        assert found.as_numpy("score").tolist() == SUMS
    client.start_stream(callback=arrive)
    for model in ("m", "other", "m"):
        client.async_stream_infer(model, [matrix()], enable_empty_final_response=True)
    told = [arrived.get(timeout=30) for _ in range(3)]
    client.stop_stream()
    last = [found.get_response().parameters["triton_final_response"] for found, _ in told[::2]]
    assert all(each.bool_param for each in last)
    assert [error is None for _, error in told] == [True, False, True]
    assert "no model" in str(told[1][1])


@journey
def grpc_statistics_and_repository() -> None:
    client = connected()
    client.infer("m", [matrix()])
    found = client.get_inference_statistics("m").model_stats
    assert found[0].inference_stats.success.count >= 1
    assert client.get_inference_statistics().model_stats
    index = client.get_model_repository_index().models
    assert {(one.name, one.state) for one in index} >= {("m", "READY"), ("t", "READY")}
    client.load_model("m")
    refused(client.unload_model, "m")


@journey
def grpc_is_told_what_is_wrong() -> None:
    client = connected()
    assert "NOT_FOUND" in refused(client.infer, "other", [matrix()])
    assert "INVALID_ARGUMENT" in refused(client.infer, "m", [matrix(np.ones((1, 3)))])
    assert "NOT_FOUND" in refused(client.infer, "m", [matrix()], model_version="9")
    assert "UNIMPLEMENTED" in refused(client.get_system_shared_memory_status)
    large = matrix(np.ones((700_000, 2)))
    assert "RESOURCE_EXHAUSTED" in refused(client.infer, "m", [large])
    assert client.infer("m", [matrix()]).as_numpy("score").tolist() == SUMS


def refused(call: Callable[..., Any], *args: Any, **more: Any) -> str:
    try:
        call(*args, **more)
    except InferenceServerException as error:
        return f"{error.status()} {error.message()}"
    raise AssertionError("it was taken")


if __name__ == "__main__":
    journey.tell(lambda _: importlib.metadata.version("tritonclient"))
