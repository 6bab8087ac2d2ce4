"""gRPC on a port of its own: what is refused, and how; clients' own packages are elsewhere."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote

import grpc
import numpy as np
import pytest
from grpc import aio
from tests.ports import free_port
from tests.serve.conftest import Served
from tests.serve.made import Input, Raises, Sum, YesNo, canary, live, shadow
from tests.serve.test_batching import Slow, slowed
from tests.serve.test_limits import Stuck
from tests.serve.test_outputs import BEST, NAMES, ROWS, several

from setpoint.errors import Conflict
from setpoint.serve.app import App
from setpoint.serve.entities import EndpointSettings, PredictionRecord, SplitArm
from setpoint.serve.grpc import open_inference, server, tensorflow
from setpoint.serve.splits import store as splits

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

V2, TF = open_inference._m, tensorflow._m
CODE = grpc.StatusCode


@pytest.fixture
def m(served: Served) -> Served:
    served.predictors[1] = Sum(inputs=[Input("a"), Input("t", "BYTES")])
    served.deploy(live())
    return served


class Serving(Protocol):
    """An inference server without its sockets."""

    app: App
    _runner: asyncio.Runner


def speak(served: Serving, story: Callable[[aio.Channel], Awaitable[None]]) -> None:
    """Run a story with a channel to a server of its own."""

    async def whole() -> None:
        port = free_port()
        running = await server.start(served.app, "127.0.0.1", port)
        try:
            async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                await story(channel)
        finally:
            await server.stop(running)

    served._runner.run(whole())


async def ask(channel: aio.Channel, method: str, request: Any, answer: Any) -> Any:
    return (await ask_whole(channel, method, request, answer))[0]


async def ask_whole(
    channel: aio.Channel, method: str, request: Any, answer: Any, **metadata: str
) -> tuple[Any, dict[str, Any]]:
    """Return an answer and its trailing metadata."""
    call = channel.unary_unary(
        method,
        request_serializer=type(request).SerializeToString,
        response_deserializer=answer.FromString,
    )
    sent = [(name.replace("_", "-"), value) for name, value in metadata.items()]
    made = call(request, metadata=sent)
    return await made, dict(await made.trailing_metadata())


async def refused(channel: aio.Channel, method: str, request: Any) -> tuple[Any, str]:
    with pytest.raises(aio.AioRpcError) as caught:
        await ask(channel, method, request, V2.Empty)
    return caught.value.code(), caught.value.details() or ""


INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
PREDICT = "/tensorflow.serving.PredictionService/Predict"


def tensor(name: str, datatype: str, shape: list[int], **contents: Any) -> Any:
    return V2.Tensor(name=name, datatype=datatype, shape=shape, contents=V2.Contents(**contents))


A = tensor("a", "FP64", [1], fp64_contents=[1.5])
T = tensor("t", "BYTES", [1], bytes_contents=[b"ab"])


def test_lists_are_read_and_answered_by_a_list(m: Served) -> None:
    async def story(channel: aio.Channel) -> None:
        answer = await ask(channel, INFER, V2.Infer(model_name="m", inputs=[A, T]), V2.Inferred)
        assert list(answer.outputs[0].contents.fp64_contents) == [3.5]
        assert not answer.raw_output_contents

    speak(m, story)
    (record,) = m.logged()
    assert isinstance(record, PredictionRecord)
    assert record.texts == {"t": ["ab"]}


def test_labels_are_answered_as_texts_in_lists_raw_and_by_tensorflow(
    served: Served, tmp_path: Path
) -> None:
    several(served, tmp_path)
    wanted = [name.encode() for name in NAMES]
    rows = np.array(ROWS)

    async def story(channel: aio.Channel) -> None:
        listed = tensor("x", "FP64", [3, 4], fp64_contents=rows.ravel())
        asked = V2.Infer(model_name="m", inputs=[listed], outputs=[V2.OutputAsked(name="label")])
        answer = await ask(channel, INFER, asked, V2.Inferred)
        (label,) = answer.outputs
        assert (label.datatype, list(label.shape)) == ("BYTES", [3])
        assert list(label.contents.bytes_contents) == wanted
        asked.inputs[0].ClearField("contents")
        asked.raw_input_contents.append(rows.tobytes())
        answer = await ask(channel, INFER, asked, V2.Inferred)
        sized = b"".join(len(name).to_bytes(4, "little") + name for name in wanted)
        assert list(answer.raw_output_contents) == [sized]
        one = TF.Tensor(dtype=2, double_val=rows.ravel())
        one.tensor_shape.dim.extend([TF.Dim(size=3), TF.Dim(size=4)])
        predict = TF.Predict(model_spec=TF.ModelSpec(name="m"), inputs={"x": one})
        predict.output_filter.append("label")
        answer = await ask(channel, PREDICT, predict, TF.Predicted)
        assert list(answer.outputs["label"].string_val) == wanted

    speak(served, story)


@pytest.mark.parametrize(
    ("request_", "code", "said"),
    [
        (V2.Infer(model_name="x", inputs=[A, T]), CODE.NOT_FOUND, "no model"),
        (V2.Infer(model_name="m", inputs=[A]), CODE.INVALID_ARGUMENT, "missing input 't'"),
        (V2.Infer(model_name="m", inputs=[A, A]), CODE.INVALID_ARGUMENT, "twice"),
        (
            V2.Infer(model_name="m", inputs=[A, T], raw_input_contents=[b"x"]),
            CODE.INVALID_ARGUMENT,
            "1 raw contents for 2 inputs",
        ),
        (
            V2.Infer(model_name="m", inputs=[A, T], raw_input_contents=[b"x", b"y"]),
            CODE.INVALID_ARGUMENT,
            "do not fill",
        ),
        (
            V2.Infer(model_name="m", inputs=[tensor("a", "FP16", [1]), T]),
            CODE.INVALID_ARGUMENT,
            "raw",
        ),
        (
            V2.Infer(model_name="m", inputs=[tensor("a", "ODD", [1]), T]),
            CODE.INVALID_ARGUMENT,
            "datatype",
        ),
        (
            V2.Infer(
                model_name="m", inputs=[A, tensor("t", "BYTES", [1], bytes_contents=[b"\xff"])]
            ),
            CODE.INVALID_ARGUMENT,
            "UTF-8",
        ),
        (
            V2.Infer(model_name="m", inputs=[A, T], outputs=[V2.OutputAsked(name="odd")]),
            CODE.INVALID_ARGUMENT,
            "no output 'odd'",
        ),
    ],
)
def test_what_does_not_fit_is_refused(m: Served, request_: Any, code: Any, said: str) -> None:
    async def story(channel: aio.Channel) -> None:
        found, text = await refused(channel, INFER, request_)
        assert found == code
        assert said in text

    speak(m, story)
    assert m.logged() == []


@pytest.mark.parametrize(
    "method",
    [INFER, PREDICT, "/tensorflow.serving.ModelService/GetModelStatus"],
)
def test_bytes_that_are_no_message_are_refused_and_logged_by_nobody(
    m: Served, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    async def story(channel: aio.Channel) -> None:
        with pytest.raises(aio.AioRpcError) as caught:
            await channel.unary_unary(method)(b"\xff\xff\xff\xff")
        assert caught.value.code() is CODE.INVALID_ARGUMENT
        assert "cannot be read as a message" in (caught.value.details() or "")

    speak(m, story)
    assert not caplog.records
    assert 'setpoint_error_answers_total{status="INVALID_ARGUMENT"} 1' in m.get("/metrics")[1]


def test_statistics_tell_calls_by_size(served: Served) -> None:
    served.predictors[1] = Slow()
    slowed(served, live())
    given = tensor("x", "FP64", [2, 2], fp64_contents=[1.0] * 4)

    async def story(channel: aio.Channel) -> None:
        await ask(channel, INFER, V2.Infer(model_name="m", inputs=[given]), V2.Inferred)
        method = "/inference.GRPCInferenceService/ModelStatistics"
        (told,) = (await ask(channel, method, V2.Named(name="m"), V2.ModelStatistics)).model_stats
        (of_two,) = [one for one in told.batch_stats if one.batch_size == 2]
        assert of_two.compute_infer.count == 1
        assert of_two.compute_infer.ns >= 5_000_000

    speak(served, story)


def test_every_answer_of_a_stream_is_the_last_of_its_request(m: Served) -> None:
    async def story(channel: aio.Channel) -> None:
        call = channel.stream_stream(
            STREAM,
            request_serializer=V2.Infer.SerializeToString,
            response_deserializer=V2.Streamed.FromString,
        )()
        for name, failed in (("m", False), ("x", True)):
            asked = V2.Infer(model_name=name, id="r", inputs=[A, T])
            asked.parameters["triton_enable_empty_final_response"].bool_param = True
            await call.write(asked)
            told = await call.read()
            assert bool(told.error_message) is failed
            assert (told.infer_response.id, told.infer_response.model_name) == ("r", name)
            assert told.infer_response.parameters["triton_final_response"].bool_param

    speak(m, story)


def test_bytes_that_are_no_message_end_a_stream_after_the_answers_before_them(
    m: Served, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(channel: aio.Channel) -> None:
        call = channel.stream_stream(STREAM, response_deserializer=V2.Streamed.FromString)()
        await call.write(V2.Infer(model_name="m", inputs=[A, T]).SerializeToString())
        told = await call.read()
        assert told.infer_response.model_name == "m"
        await call.write(b"\xff\xff\xff\xff")
        with pytest.raises(aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is CODE.INVALID_ARGUMENT
        assert "cannot be read as a message" in (caught.value.details() or "")

    speak(m, story)
    assert not caplog.records


def test_a_version_that_answers_nobody_is_not_found(served: Served) -> None:
    served.deploy(live(1), shadow(2))

    async def story(channel: aio.Channel) -> None:
        matrix = tensor("x", "FP64", [1, 2], fp64_contents=[1, 2])
        asked = V2.Infer(model_name="m", model_version="2", inputs=[matrix])
        code, text = await refused(channel, INFER, asked)
        assert (code, "does not answer" in text) == (CODE.NOT_FOUND, True)

    speak(served, story)


def test_tensors_of_tensorflow_in_bytes_lists_and_halves(served: Served) -> None:
    served.deploy(live(1), canary(2))

    async def story(channel: aio.Channel) -> None:
        for given in (
            {"dtype": 2, "tensor_content": np.array([1.0, 2.0]).tobytes()},
            {"dtype": 19, "half_val": np.array([1, 2], "f2").view(np.uint16).tolist()},
            {"dtype": 1, "float_val": [1.0, 2.0]},
        ):
            one = TF.Tensor(**given)
            one.tensor_shape.dim.extend([TF.Dim(size=1), TF.Dim(size=2)])
            asked = TF.Predict(model_spec=TF.ModelSpec(name="m"), inputs={"x": one})
            asked.model_spec.version.value = 1
            answer = await ask(channel, PREDICT, asked, TF.Predicted)
            assert list(answer.outputs["score"].double_val) == [3.0]
        same = TF.Tensor(dtype=2, double_val=[1.5])  # one value that stands for all
        same.tensor_shape.dim.add(size=3)
        asked = TF.Predict(model_spec=TF.ModelSpec(name="m", version_label="canary"))
        asked.inputs["a"].CopyFrom(same)
        asked.inputs["b"].CopyFrom(same)
        answer = await ask(channel, PREDICT, asked, TF.Predicted)
        assert list(answer.outputs["score"].double_val) == [30.0] * 3

    speak(served, story)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"dtype": 8}, "datatype 8"),
        ({"dtype": 2, "tensor_content": b"123"}, "do not fill"),
        ({"dtype": 2, "double_val": [1.0, 2.0, 3.0]}, "do not fill"),
        ({"dtype": 7, "string_val": [b"\xff", b"a"]}, "a text, not a number"),
        ({"dtype": 7, "string_val": [b"a"]}, "do not fill"),
    ],
)
def test_broken_tensors_of_tensorflow_are_refused(served: Served, given: Any, said: str) -> None:
    served.deploy(live())

    async def story(channel: aio.Channel) -> None:
        one = TF.Tensor(**given)
        one.tensor_shape.dim.add(size=2)
        asked = TF.Predict(model_spec=TF.ModelSpec(name="m"), inputs={"a": one, "b": one})
        code, text = await refused(channel, PREDICT, asked)
        assert code == CODE.INVALID_ARGUMENT
        assert said in text

    speak(served, story)


PAIR = V2.Infer(model_name="m", inputs=[A, tensor("b", "FP64", [1], fp64_contents=[1.0])])


def test_limits_of_an_endpoint_have_codes_of_their_own(served: Served) -> None:
    model = served.predictors[1] = Stuck()
    served.configure(EndpointSettings(timeout=0.3, queue=1, batch_rows=1, body=200))
    served.deploy(live())

    async def story(channel: aio.Channel) -> None:
        told = await asyncio.gather(*(refused(channel, INFER, PAIR) for _ in range(5)))
        codes = [code for code, _ in told]
        assert codes.count(CODE.DEADLINE_EXCEEDED) == 2
        assert codes.count(CODE.RESOURCE_EXHAUSTED) == 3
        long = V2.Infer(model_name="m", id="x" * 300)
        code, text = await refused(channel, INFER, long)
        assert (code, "longer than 200 bytes" in text) == (CODE.RESOURCE_EXHAUSTED, True)
        spec = TF.ModelSpec(name="m", signature_name="x" * 300)
        code, text = await refused(channel, PREDICT, TF.Predict(model_spec=spec))
        assert (code, "longer than 200 bytes" in text) == (CODE.RESOURCE_EXHAUSTED, True)
        model.go.set()

    speak(served, story)


def test_nothing_is_begun_for_a_call_whose_own_deadline_has_passed(served: Served) -> None:
    model = served.predictors[1] = Stuck()
    served.configure(EndpointSettings(timeout=15.0, batch_rows=1))
    served.deploy(live())

    async def story(channel: aio.Channel) -> None:
        call = channel.unary_unary(
            INFER,
            request_serializer=V2.Infer.SerializeToString,
            response_deserializer=V2.Inferred.FromString,
        )
        patient = asyncio.ensure_future(call(PAIR))
        while not model.begun:  # noqa: ASYNC110 - a thread says it
            await asyncio.sleep(0.001)
        with pytest.raises(aio.AioRpcError) as caught:
            await call(PAIR, timeout=0.3)
        assert caught.value.code() == CODE.DEADLINE_EXCEEDED
        while served.app.counts().metrics.waiting["m"] > 1:  # noqa: ASYNC110 - until it is known
            await asyncio.sleep(0.001)
        model.go.set()
        await patient
        assert (await call(PAIR)).model_version == "1"

    speak(served, story)
    assert model.begun == 2, "the first and the last"
    assert len(served.logged()) == 2


def test_a_port_in_use_is_told(served: Served) -> None:
    async def story() -> None:
        port = free_port()
        first = await server.start(served.app, "127.0.0.1", port)
        try:
            with pytest.raises(Conflict, match=f"port {port} is in use"):
                await server.start(served.app, "127.0.0.1", port)
        finally:
            await server.stop(first)

    asyncio.run(story())


@pytest.mark.parametrize("by", ["metadata", "parameter"])
def test_a_call_says_by_what_it_is_routed_and_by_whom_it_was_answered(m: Served, by: str) -> None:
    m.predictors[2] = Sum(10.0, inputs=[Input("a"), Input("t", "BYTES")])
    m.configure(EndpointSettings(key_header="x-user"))
    m.deploy(live(), shadow(2))
    arms = [SplitArm(name="blue", version=2, spans=[(0, 500_000)])]
    with m.backend.engine.begin() as conn:
        splits.split(conn, "m", arms)
    m.endpoints.refresh()

    async def call(channel: aio.Channel, request: Any, **metadata: str) -> tuple[Any, Any]:
        return await ask_whole(channel, INFER, request, V2.Inferred, **metadata)

    async def story(channel: aio.Channel) -> None:
        found = set()
        for user in ("ada", "bob", "cyd", "dan", "eve", "fay", "gus", "hal"):
            answer, told = await call(channel, V2.Infer(model_name="m", inputs=[A, T]), x_user=user)
            arm = answer.parameters["arms"].string_param
            assert told["setpoint-arm"] == arm
            wanted = m.endpoints.all()["m"].route
            assert wanted is not None
            assert (wanted([user]) == b"\2") == (arm == "blue")
            found.add(arm)
        assert found == {"live", "blue"}
        request = V2.Infer(model_name="m", inputs=[A, T])
        if by == "parameter":
            request.parameters["route"].string_param = "shadow"
            answer, _ = await call(channel, request)
        else:
            answer, _ = await call(channel, request, setpoint_route="shadow")
        assert answer.parameters["arms"].string_param == "shadow"
        assert list(answer.outputs[0].contents.fp64_contents) == [35.0]

    speak(m, story)
    last = [one for one in m.logged() if isinstance(one, PredictionRecord)][-1]
    assert (last.roles, last.arm) == (b"\6", "shadow")


@pytest.mark.parametrize("rows", [1, 300, 3_000])
@pytest.mark.parametrize("name", ["r", "größe\N{BULLET}", "é" * 240])
def test_the_metadata_of_many_rows_are_as_long_as_clients_take(
    served: Served, rows: int, name: str
) -> None:
    served.deploy(live(), canary(weight=0.5))
    ids = [f"{name}-{i}" for i in range(rows)]
    values = tensor("x", "FP64", [rows, 2], fp64_contents=[1.0] * 2 * rows)
    asked = V2.Infer(model_name="m", inputs=[values])
    asked.parameters["ids"].string_param = ",".join(ids)

    async def story(channel: aio.Channel) -> None:
        answer, told = await ask_whole(channel, INFER, asked, V2.Inferred)
        assert list(answer.outputs[0].shape) == [rows]
        assert sum(len(key) + len(value) + 32 for key, value in told.items()) < 8_000
        named = unquote(told.get("setpoint-prediction-id", ""))
        assert (named.startswith(ids[0]) and named.endswith(ids[-1])) or (
            rows > 1 and len(name) > 100 and not named
        )

    speak(served, story)


def test_a_classifier_tells_its_metadata_and_an_error_is_counted(served: Served) -> None:
    served.predictors[1] = YesNo()
    served.deploy(live())

    async def story(channel: aio.Channel) -> None:
        method = "/inference.GRPCInferenceService/ModelMetadata"
        found = await ask(channel, method, V2.Named(name="m"), V2.ModelMetadata)
        assert [each.name for each in found.outputs] == ["score", "label", "probabilities"]
        await refused(channel, method, V2.Named(name="x"))

    speak(served, story)
    _, told = served.get("/metrics")
    assert 'setpoint_error_answers_total{status="NOT_FOUND"} 1' in told


def test_a_fallback_is_told_in_the_metadata(served: Served) -> None:
    served.predictors[1] = Raises()
    served.baselines[1] = Sum(10.0)
    served.deploy(live())
    one = TF.Tensor(dtype=2, double_val=[1.0, 2.0])
    one.tensor_shape.dim.extend([TF.Dim(size=1), TF.Dim(size=2)])
    asked = TF.Predict(model_spec=TF.ModelSpec(name="m"), inputs={"x": one})

    async def story(channel: aio.Channel) -> None:
        _, told = await ask_whole(channel, PREDICT, asked, TF.Predicted)
        assert told["setpoint-fallback"] == "true"

    speak(served, story)


@pytest.mark.parametrize("raw", ["raw", ""])
def test_tritons_classification(served: Served, tmp_path: Path, raw: str) -> None:
    several(served, tmp_path)
    rows = np.array(ROWS)

    async def story(channel: aio.Channel) -> None:
        given = tensor("x", "FP64", [3, 4], **({} if raw else {"fp64_contents": rows.ravel()}))
        asked = V2.Infer(model_name="m", inputs=[given])
        if raw:
            asked.raw_input_contents.append(rows.tobytes())
        wanted = V2.OutputAsked(name="probabilities")
        wanted.parameters["classification"].int64_param = 1
        asked.outputs.append(wanted)
        answer = await ask(channel, INFER, asked, V2.Inferred)
        (output,) = answer.outputs
        assert (output.datatype, list(output.shape)) == ("BYTES", [3, 1])
        expected = [f"{best:f}:{at}:{NAMES[at]}".encode() for at, best in enumerate(BEST)]
        if raw:
            sized = b"".join(len(each).to_bytes(4, "little") + each for each in expected)
            assert list(answer.raw_output_contents) == [sized]
        else:
            assert list(output.contents.bytes_contents) == expected
        wanted.parameters["classification"].int64_param = -1
        asked.outputs[0].CopyFrom(wanted)
        assert (await refused(channel, INFER, asked))[0] is CODE.INVALID_ARGUMENT

    speak(served, story)
