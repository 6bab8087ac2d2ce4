"""gRPC asked for models that are not in memory, and for versions by number or alias."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio
from tests.serve.grpc.test_server import INFER, PREDICT, TF, V2, ask, refused, speak, tensor
from tests.serve.shelf import MB
from tests.serve.test_memory import Server

CODE = grpc.StatusCode
SERVICE = "/inference.GRPCInferenceService"
MATRIX = tensor("x", "FP64", [1, 2], fp64_contents=[1, 1])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """One that holds two models of those that it has."""
    one = Server(tmp_path / "log", 25 * MB)
    yield one
    for gate in one.shelf.gates.values():
        gate.set()
    one.close()


def infer(model: str, version: str = "") -> Any:
    return V2.Infer(model_name=model, model_version=version, inputs=[MATRIX])


def predict(model: str, **spec: str) -> Any:
    """Return a request of TensorFlow Serving for one row of ones."""
    asked = TF.Predict(model_spec=TF.ModelSpec(name=model, **spec))
    for name in "ab":
        asked.inputs[name].dtype = 2
        asked.inputs[name].double_val.append(1.0)
        asked.inputs[name].tensor_shape.dim.add(size=1)
    return asked


async def ready(channel: aio.Channel, model: str, version: str = "") -> bool:
    asked = V2.Named(name=model, version=version)
    return bool((await ask(channel, f"{SERVICE}/ModelReady", asked, V2.Ready)).ready)


def test_a_model_that_is_asked_is_loaded_and_only_then_ready(server: Server) -> None:
    for model in "abc":
        server.deploy(model)

    async def story(channel: aio.Channel) -> None:
        assert (await ask(channel, f"{SERVICE}/ServerReady", V2.Empty(), V2.Ready)).ready
        assert [await ready(channel, model) for model in "abc"] == [False] * 3
        for model in "ab":
            answer = await ask(channel, INFER, infer(model), V2.Inferred)
            assert list(answer.outputs[0].contents.fp64_contents) == [2.0]
        answer = await ask(channel, PREDICT, predict("c"), TF.Predicted)
        assert list(answer.outputs["score"].double_val) == [2.0]
        assert [await ready(channel, model) for model in "abc"] == [False, True, True]

    speak(server, story)


def test_what_cannot_be_loaded_has_the_code_of_why(server: Server) -> None:
    server.deploy("broken")
    server.deploy("slow", timeout=0.2)
    server.shelf.broken.add(("broken", 1))
    gate = server.shelf.gates["slow"] = threading.Event()

    async def story(channel: aio.Channel) -> None:
        protocols = ((INFER, infer), (PREDICT, predict))
        for method, request in protocols:
            code, text = await refused(channel, method, request("broken"))
            assert (code, "no luck" in text) == (CODE.UNAVAILABLE, True)
            code, text = await refused(channel, method, request("unheard"))
            assert (code, "no model 'unheard'" in text) == (CODE.NOT_FOUND, True)
        for method, request in protocols:
            code, _ = await refused(channel, method, request("slow"))
            assert code == CODE.DEADLINE_EXCEEDED
        gate.set()
        async with asyncio.timeout(20):
            while not await ready(channel, "slow"):  # noqa: ASYNC110 - a thread loads it
                await asyncio.sleep(0.002)
        assert (await ask(channel, INFER, infer("slow"), V2.Inferred)).model_version == "1"

    speak(server, story)
    assert server.shelf.loads.count(("slow", 1)) == 1, "the load went on while nobody waited"


def test_versions_of_the_policy_answer_who_names_them_and_others_are_not_found(
    server: Server,
) -> None:
    server.shelf.known["m"] = [1, 2, 3, 4]
    server.shelf.aliases["m"] = {"champion": 1}
    server.deploy("m", 4, versions="latest 2, champion")

    async def story(channel: aio.Channel) -> None:
        for version, score in (("", 8.0), ("4", 8.0), ("3", 6.0), ("1", 2.0)):
            answer = await ask(channel, INFER, infer("m", version), V2.Inferred)
            assert answer.model_version == (version or "4")
            assert list(answer.outputs[0].contents.fp64_contents) == [score]
        for version in ("2", "9", "champion"):
            code, text = await refused(channel, INFER, infer("m", version))
            assert code == CODE.NOT_FOUND
            assert "served now: 4; by number: 1, 3" in text
            assert not await ready(channel, "m", version)
            asked = V2.Named(name="m", version=version)
            code, _ = await refused(channel, f"{SERVICE}/ModelMetadata", asked)
            assert code == CODE.NOT_FOUND

    speak(server, story)


def test_tensorflow_names_versions_by_number_and_by_label(server: Server) -> None:
    server.shelf.known["m"] = [1, 2, 3]
    server.shelf.aliases["m"] = {"champion": 1}
    server.deploy("m", 3, versions="champion")

    async def story(channel: aio.Channel) -> None:
        labelled = await ask(channel, PREDICT, predict("m", version_label="champion"), TF.Predicted)
        assert labelled.model_spec.version.value == 1
        assert list(labelled.outputs["score"].double_val) == [2.0]
        by_number = predict("m")
        by_number.model_spec.version.value = 2
        code, text = await refused(channel, PREDICT, by_number)
        assert (code, "version 2 of 'm' is not served" in text) == (CODE.NOT_FOUND, True)
        code, text = await refused(channel, PREDICT, predict("m", version_label="oldest"))
        assert (code, "oldest" in text) == (CODE.NOT_FOUND, True)

    speak(server, story)


def test_models_are_loaded_and_unloaded_by_hand(server: Server) -> None:
    for model in "abc":
        server.deploy(model)

    async def story(channel: aio.Channel) -> None:
        load, unload = (f"{SERVICE}/RepositoryModel{what}" for what in ("Load", "Unload"))
        for model in "ab":
            await ask(channel, load, V2.Load(model_name=model), V2.Empty)
        code, text = await refused(channel, load, V2.Load(model_name="c"))
        assert (code, "does not fit" in text) == (CODE.FAILED_PRECONDITION, True)
        code, _ = await refused(channel, load, V2.Load(model_name="unheard"))
        assert code == CODE.NOT_FOUND
        await ask(channel, unload, V2.Load(model_name="a"), V2.Empty)
        index = await ask(channel, f"{SERVICE}/RepositoryIndex", V2.IndexAsked(), V2.Index)
        states = {one.name: one.state for one in index.models}
        assert states == {"a": "UNAVAILABLE", "b": "READY", "c": "UNAVAILABLE"}

    speak(server, story)
