import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict
from setpoint.models.entities import Input, Signature
from setpoint.models.explaining.explainer import Explainer
from setpoint.models.protocols import Rows
from setpoint.serve import store
from setpoint.serve.app import App
from setpoint.serve.entities import Deployment, EndpointSettings, Record
from setpoint.serve.following import Endpoints
from setpoint.serve.lane import read_head
from setpoint.serve.log import LogWriter, read
from setpoint.serve.metrics import Metrics
from setpoint.serve.protocols import Predictor
from setpoint.serve.registered import Registered

from .made import Sum


class Served:
    """An inference server without its sockets: the application, asked directly."""

    def __init__(self, backend: LocalBackend, folder: Path, clock: ManualClock) -> None:
        self.predictors: dict[int, Predictor | Exception] = {1: Sum(), 2: Sum(10.0)}
        self.backend = backend
        self.folder = folder
        self.writer = LogWriter(folder, segment_bytes=100_000)
        self.baselines: dict[int, Predictor | Exception] = {}
        self.backgrounds: dict[int, Rows] = {}
        self.kept: dict[str, bytes] = {}
        source = Registered(
            backend.engine,
            self._load,
            self._baseline,
            self._explainer,
            kept=self.kept.__getitem__,
        )
        self.endpoints = Endpoints(source, Metrics())
        self.app = App(self.endpoints, self.writer, self.endpoints.metrics, clock)
        self._runner = asyncio.Runner()

    def _load(self, model: str, version: int) -> Predictor:
        assert model == "m"
        found = self.predictors[version]
        if isinstance(found, Exception):
            raise found
        return found

    def _baseline(self, model: str, version: int) -> Predictor | None:  # noqa: ARG002
        found = self.baselines.get(version)
        if isinstance(found, Exception):
            raise found
        return found

    def _explainer(self, model: str, version: int, predictor: Predictor) -> Explainer:
        if version not in self.backgrounds:
            raise Conflict(f"{model}/{version} has no background", hint="train it again")
        inputs = [Input(name=each.name, datatype=each.datatype) for each in predictor.inputs]
        signature = Signature(inputs=inputs, kind="regression")
        return Explainer(signature, self.backgrounds[version], predictor.predict)

    def deploy(self, *wanted: Deployment) -> int:
        with self.backend.engine.begin() as conn:
            generation = store.deploy(conn, "m", wanted)
        self.endpoints.refresh()
        return generation

    def configure(self, settings: EndpointSettings) -> None:
        with self.backend.engine.begin() as conn:
            store.configure(conn, "m", settings)
        self.endpoints.refresh()

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Sequence[Any] = ()
    ) -> tuple[int, Any]:
        status, raw, _ = self.exchange(method, path, body, headers)
        return status, json.loads(raw) if raw[:1] == b"{" else raw.decode()

    def exchange(
        self, method: str, path: str, body: bytes = b"", headers: Sequence[Any] = ()
    ) -> tuple[int, bytes, dict[str, str]]:
        """Return status, body and headers of a reply."""
        return self._runner.run(self._ask(method, path, body, headers))

    def short(
        self, path: str, body: bytes, headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> tuple[int, bytes, dict[str, str]] | None:
        """Ask as `exchange` does, the short way; None where that leaves it to the long one."""
        length = (b"content-length", b"%d" % len(body))
        lines = [b"%b: %b" % header for header in (length, *headers)]
        head = read_head(b"\r\n".join([f"POST {path} HTTP/1.1".encode(), *lines]))
        reply = None if head is None else self.app.answer_now(head, body)
        if reply is None:
            return None
        told = (("content-type", reply.kind), *((n.decode(), v) for n, v in reply.headers))
        return reply.status, reply.body, {name: value.decode() for name, value in told}

    def get(self, path: str) -> tuple[int, Any]:
        return self.ask("GET", path)

    def post(self, path: str, value: Any) -> tuple[int, Any]:
        return self.ask("POST", path, json.dumps(value).encode())

    def infer(self, matrix: Sequence[Sequence[float | None]], **parameters: Any) -> tuple[int, Any]:
        shape = [len(matrix), len(matrix[0])]
        tensor = {"name": "x", "datatype": "FP64", "shape": shape, "data": matrix}
        return self.post("/v2/models/m/infer", {"inputs": [tensor], "parameters": parameters})

    def sync(self) -> None:
        assert self.post("/-/sync", {})[0] == 200

    def logged(self) -> list[Record]:
        return [record for _, record in read(self.folder)]

    def close(self) -> None:
        self._runner.run(self.app.close())
        self._runner.close()

    async def _ask(
        self, method: str, path: str, body: bytes, headers: Sequence[Any]
    ) -> tuple[int, bytes, dict[str, str]]:
        chunks = [body[i : i + 60_000] for i in range(0, len(body), 60_000)] or [b""]
        messages = [
            {"type": "http.request", "body": chunk, "more_body": i + 1 < len(chunks)}
            for i, chunk in enumerate(chunks)
        ]
        sent: list[Any] = []

        async def receive() -> Any:
            return messages.pop(0) if messages else await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "headers": list(headers)}
        await self.app(scope, receive, send)
        told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], sent[1]["body"], told


@pytest.fixture
def served(backend: LocalBackend, tmp_path: Path, clock: ManualClock) -> Iterator[Served]:
    one = Served(backend, tmp_path / "log", clock)
    yield one
    one.close()
