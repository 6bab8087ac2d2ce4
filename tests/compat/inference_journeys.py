"""Stories of clients of inference servers: Triton's, KServe's, SageMaker's, CloudEvents'.

``python inference_journeys.py URL GRPC BUCKET`` tells each, with the packages as they are.
"""

import asyncio
import importlib.metadata
import json
import sys
from collections.abc import Callable
from typing import Any

import boto3
import httpx
import numpy as np
import tritonclient.http as triton
from botocore.config import Config
from botocore.exceptions import ClientError
from cloudevents.http import CloudEvent, from_http, to_binary, to_structured
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from stories import Journeys
from tritonclient.utils import InferenceServerException

URL = sys.argv[1]
ROWS = np.array([[1.0, 2.0], [3.0, 4.5]])
SUMS = [3.0, 7.5]

journey = Journeys()


def connected() -> triton.InferenceServerClient:
    return triton.InferenceServerClient(URL.removeprefix("http://"))


def matrix(rows: Any = ROWS, *, binary: bool = True) -> triton.InferInput:
    given = triton.InferInput("x", list(rows.shape), "FP64")
    given.set_data_from_numpy(rows, binary_data=binary)
    return given


@journey
def triton_state_and_metadata() -> None:
    client = connected()
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("m")
    assert client.is_model_ready("m", "2")
    assert not client.is_model_ready("other")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert client.get_model_metadata("m")["versions"] == ["1", "2"]
    assert [one["name"] for one in client.get_model_config("m")["input"]] == ["a", "b"]


@journey
def triton_tensors_in_json() -> None:
    client = connected()
    out = [triton.InferRequestedOutput("score", binary_data=False)]
    answer = client.infer("m", [matrix(binary=False)], outputs=out, request_id="r-1")
    assert answer.as_numpy("score").tolist() == SUMS
    assert answer.get_response()["id"] == "r-1"
    assert answer.get_response()["parameters"]["versions"] == [1, 1]


@journey
def triton_binary_tensors() -> None:
    client = connected()
    for dtype in (np.float32, np.int64, np.int8):
        rows = np.array([[1, 2], [3, 4]], dtype)
        given = triton.InferInput("x", [2, 2], triton.np_to_triton_dtype(dtype))
        given.set_data_from_numpy(rows)
        assert client.infer("m", [given]).as_numpy("score").tolist() == [3.0, 7.0]
    out = [triton.InferRequestedOutput("score", binary_data=True)]
    assert client.infer("m", [matrix()], outputs=out).as_numpy("score").tolist() == SUMS
    for binary in (False, True):
        best = [triton.InferRequestedOutput("score", binary_data=binary, class_count=1)]
        told = client.infer("m", [matrix()], outputs=best).as_numpy("score").ravel().tolist()
        told = [each.decode() if isinstance(each, bytes) else each for each in told]
        assert told == [f"{value:f}:0" for value in SUMS]


@journey
def triton_packed_both_ways() -> None:
    client = connected()
    rows = np.ones((500, 2))
    for way in ("gzip", "deflate"):
        answer = client.infer(
            "m",
            [matrix(rows)],
            request_compression_algorithm=way,
            response_compression_algorithm=way,
        )
        assert answer.as_numpy("score").tolist() == [2.0] * 500


@journey
def triton_texts() -> None:
    client = connected()
    texts = triton.InferInput("text", [2, 1], "BYTES")
    texts.set_data_from_numpy(np.array([["grün"], [""]], dtype=object))
    numbers = triton.InferInput("a", [2], "FP64")
    for binary in (True, False):
        numbers.set_data_from_numpy(np.array([1.0, 2.0]), binary_data=binary)
        assert client.infer("t", [texts, numbers]).as_numpy("score").tolist() == [5.0, 2.0]


@journey
def triton_versions_and_many_at_once() -> None:
    client = triton.InferenceServerClient(URL.removeprefix("http://"), concurrency=8)
    assert client.infer("m", [matrix()], model_version="2").as_numpy("score").tolist() == [
        30.0,
        75.0,
    ]
    asked = [client.async_infer("m", [matrix()]) for _ in range(64)]
    assert all(one.get_result().as_numpy("score").tolist() == SUMS for one in asked)


@journey
def triton_statistics_and_repository() -> None:
    client = connected()
    client.infer("m", [matrix()])
    (one, _) = client.get_inference_statistics("m")["model_stats"]
    assert one["inference_count"] >= 2
    assert client.get_inference_statistics()["model_stats"]
    index = client.get_model_repository_index()
    assert {(each["name"], each["state"]) for each in index} >= {("m", "READY"), ("t", "READY")}
    client.load_model("m")
    refused(client.unload_model, "m")


@journey
def triton_is_told_what_is_wrong() -> None:
    client = connected()
    assert "no model" in refused(client.infer, "other", [matrix()])
    assert "3 columns" in refused(client.infer, "m", [matrix(np.ones((1, 3)))])
    assert "version 9" in refused(client.infer, "m", [matrix()], model_version="9")
    refused(client.get_system_shared_memory_status)
    refused(client.get_trace_settings)


def refused(call: Callable[..., Any], *args: Any, **more: Any) -> str:
    try:
        call(*args, **more)
    except InferenceServerException as error:
        return str(error.message())
    raise AssertionError("it was taken")


@journey
def kserve_v1() -> None:
    async def story() -> None:
        client = InferenceRESTClient(RESTConfig(protocol="v1", retries=0))
        assert await client.is_server_live(URL)
        assert await client.is_model_ready(URL, "m")
        told: dict[str, str] = {}
        answer = await client.infer(URL, {"instances": ROWS.tolist()}, "m", response_headers=told)
        assert answer == {"predictions": SUMS}
        assert told["setpoint-model-version"] == "1"
        records = [{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 4.5}]
        assert await client.infer(URL, {"instances": records}, "m") == {"predictions": SUMS}
        await client.close()

    asyncio.run(story())


@journey
def kserve_explains() -> None:
    """Its client knows explanations of V1 only."""

    async def story() -> None:
        client = InferenceRESTClient(RESTConfig(protocol="v1", retries=0))
        answer = await client.explain(URL, "m", {"instances": ROWS.tolist()})
        first, second = answer["explanations"]
        assert first["shap_values"] == {"a": 0.0, "b": 1.0}
        assert first["base_value"] + sum(first["shap_values"].values()) == SUMS[0]
        assert second["score"] == SUMS[1]
        said = ""
        try:
            await client.explain(URL, "m", {"instances": [[1.0]]})
        except httpx.HTTPStatusError as error:
            said = str(error)
        assert "send 2 values a row" in said
        await client.close()

    asyncio.run(story())


@journey
def kserve_v2() -> None:
    async def story() -> None:
        client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
        assert await client.is_server_ready(URL)
        assert await client.is_model_ready(URL, "m")
        for binary in (True, False):
            given = InferInput("x", [2, 2], "FP64")
            given.set_data_from_numpy(ROWS, binary_data=binary)
            asked = InferRequest("m", [given], request_id="r-2")
            answer = await client.infer(URL, asked, "m")
            assert answer.outputs[0].as_numpy().tolist() == SUMS
            assert answer.id == "r-2"
        await client.close()

    asyncio.run(story())


def runtime() -> Any:
    return boto3.client(
        "sagemaker-runtime",
        endpoint_url=URL,
        region_name="eu-central-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",  # noqa: S106 - none is asked for
        config=Config(retries={"max_attempts": 1}),
    )


@journey
def sagemaker_invokes_an_endpoint() -> None:
    client = runtime()
    answer = client.invoke_endpoint(
        EndpointName="m",
        ContentType="application/json",
        Body=json.dumps({"instances": ROWS.tolist()}),
        CustomAttributes="trace=1",
    )
    assert json.load(answer["Body"]) == {"predictions": SUMS}
    assert answer["CustomAttributes"] == "trace=1"
    assert answer["InvokedProductionVariant"] == "1"
    answer = client.invoke_endpoint(
        EndpointName="m",
        ContentType="text/csv",
        Accept="text/csv",
        Body="1,2\n3,4.5\n",
        TargetVariant="canary",
    )
    assert answer["Body"].read() == b"30.0\n75.0\n"
    answer = client.invoke_endpoint(
        EndpointName="all", TargetModel="t", ContentType="text/csv", Body="1,grün\n".encode()
    )
    assert json.load(answer["Body"]) == {"predictions": [5.0]}


@journey
def sagemaker_reads_an_answer_in_parts() -> None:
    client = runtime()
    answer = client.invoke_endpoint_with_response_stream(
        EndpointName="m",
        ContentType="application/json",
        Body=json.dumps({"instances": ROWS.tolist()}),
        CustomAttributes="trace=1",
        InferenceId="i-1",
    )
    assert answer["ContentType"] == "application/json"
    assert answer["CustomAttributes"] == "trace=1"
    assert answer["InvokedProductionVariant"] == "1"
    assert json.loads(streamed(answer)) == {"predictions": SUMS}
    answer = client.invoke_endpoint_with_response_stream(
        EndpointName="m",
        ContentType="text/csv",
        Accept="text/csv",
        Body=b"1,2\n" * 40_000,
        TargetVariant="canary",
    )
    assert answer["InvokedProductionVariant"] == "2"
    assert streamed(answer) == b"30.0\n" * 40_000


def streamed(answer: Any) -> bytes:
    return b"".join(event["PayloadPart"]["Bytes"] for event in answer["Body"])


def bucket() -> tuple[Any, str]:
    """Return a client of S3, and a bucket that the server can read."""
    reached = json.loads(sys.argv[3])
    name = reached.pop("bucket")
    how = Config(s3={"addressing_style": "path"})
    return boto3.client("s3", region_name="us-east-1", config=how, **reached), name


def put(s3: Any, location: str, seconds: float = 60.0) -> bytes:
    """Return what is put at a location, once it is there."""
    name, _, key = location.removeprefix("s3://").partition("/")
    waiter = s3.get_waiter("object_exists")
    waiter.wait(Bucket=name, Key=key, WaiterConfig={"Delay": 0.1, "MaxAttempts": int(10 * seconds)})
    return bytes(s3.get_object(Bucket=name, Key=key)["Body"].read())


@journey
def sagemaker_invokes_asynchronously() -> None:
    client, (s3, name) = runtime(), bucket()
    s3.put_object(Bucket=name, Key="in/rows.csv", Body=b"1,2\n3,4.5\n")
    answer = client.invoke_endpoint_async(
        EndpointName="m",
        InputLocation=f"s3://{name}/in/rows.csv",
        ContentType="text/csv",
        Accept="application/json",
        InferenceId="i-2",
        RequestTTLSeconds=3_600,
        InvocationTimeoutSeconds=600,
    )
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert answer["InferenceId"] == "i-2"
    assert answer["FailureLocation"].startswith(f"s3://{name}/answers/")
    assert json.loads(put(s3, answer["OutputLocation"])) == {"predictions": SUMS}
    answer = client.invoke_endpoint_async(
        EndpointName="m", ContentType="text/csv", Accept="text/csv", Body=b"1,2\n", Filename="x.csv"
    )
    assert answer["InferenceId"]
    assert answer["OutputLocation"] == f"s3://{name}/answers/x.csv"
    assert put(s3, answer["OutputLocation"]) == b"3.0\n"


@journey
def sagemaker_is_told_what_is_wrong_asynchronously() -> None:
    client, (s3, name) = runtime(), bucket()
    s3.put_object(Bucket=name, Key="in/broken.csv", Body=b"1,2,3\n")
    for asked in (
        {"EndpointName": "other", "InputLocation": f"s3://{name}/in/broken.csv"},
        {"EndpointName": "m", "InputLocation": f"s3://{name}/in/broken.csv"},
        {"EndpointName": "m", "InputLocation": f"s3://{name}/in/nothing.csv"},
        {"EndpointName": "m", "InputLocation": "https://example.com/rows.csv"},
        {"EndpointName": "m"},
    ):
        asked["ContentType"] = "text/csv"
        assert code_of(client.invoke_endpoint_async, **asked) == "ValidationError"


@journey
def sagemaker_is_told_what_is_wrong() -> None:
    client = runtime()
    for call in (client.invoke_endpoint, client.invoke_endpoint_with_response_stream):
        for asked in (
            {"EndpointName": "other", "Body": b"1,2"},
            {"EndpointName": "m", "Body": b"1,2,3"},
            {"EndpointName": "m", "Body": b"1,2", "TargetVariant": "9"},
        ):
            assert code_of(call, ContentType="text/csv", **asked) == "ValidationError"


def code_of(call: Callable[..., Any], **asked: Any) -> str:
    try:
        call(**asked)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


@journey
def cloudevents_in_both_modes() -> None:
    about = {"type": "org.kubeflow.serving.inference.request", "source": "here", "id": "e-1"}
    for mode in (to_binary, to_structured):
        headers, body = mode(CloudEvent(about, {"instances": ROWS.tolist()}))
        reply = httpx.post(f"{URL}/v1/models/m:predict", content=body, headers=headers)
        event = from_http(dict(reply.headers.items()), reply.content)
        data = event.data if isinstance(event.data, dict) else json.loads(event.data)
        assert data == {"predictions": SUMS}
        assert event["id"] == "e-1"
        assert event["type"] == "org.kubeflow.serving.inference.response"


PACKAGES = {"triton": "tritonclient", "sagemaker": "boto3"}  #: where stories are named otherwise


def version_of(story: str) -> str:
    word = story.partition("_")[0]
    return importlib.metadata.version(PACKAGES.get(word, word))


if __name__ == "__main__":
    journey.tell(version_of)
