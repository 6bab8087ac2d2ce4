"""Spans of requests: what they tell, to whom they belong, and that nobody waits for them."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.ports import free_port

from setpoint.config import Settings
from setpoint.db.local import LocalBackend
from setpoint.serve import store
from setpoint.serve.grpc import open_inference

from .made import canary, live

ROOT = Path(__file__).parents[2]
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

_SERVES = """
import sys, time
from setpoint.config import settings
from setpoint.serve.listening import How
from setpoint.serve.main import run
from tests.serve.made import Raises, Sum

class Slow(Sum):
    def predict(self, rows):
        time.sleep(0.01)
        return super().predict(rows)

class SlowAndRaises(Raises):
    def predict(self, rows):
        time.sleep(0.01)
        return super().predict(rows)

KINDS = {1: Sum, 2: Raises, 3: Slow, 4: SlowAndRaises}
grpc_port = int(sys.argv[2]) if len(sys.argv) > 2 else None
how = How(grpc_port=grpc_port)
run(settings(sys.argv[1]), port=0, load=lambda m, version: KINDS[version](), how=how)
print("traced" if "opentelemetry" in sys.modules else "untraced")
"""


class Told(NamedTuple):
    """A span as it arrived."""

    name: str
    kind: int
    trace: str
    id: str
    parent: str
    ok: bool
    attributes: dict[str, Any]
    nanos: int


class Collector:
    """Takes OTLP over HTTP, as OpenTelemetry's collector does."""

    def __init__(self) -> None:
        self.spans: list[Told] = []
        self.services: set[str] = set()
        self.counters: dict[tuple[str, Any], int] = {}
        self._came = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.take(self.path, body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def take(self, path: str, body: bytes) -> None:
        if path == "/v1/metrics":
            self._count(ExportMetricsServiceRequest.FromString(body))
            return
        assert path == "/v1/traces"
        export = ExportTraceServiceRequest.FromString(body)
        with self._came:
            for resource in export.resource_spans:
                about = _plain(resource.resource.attributes)
                self.services.add(about["service.name"])
                for scope in resource.scope_spans:
                    self.spans += [_told(span) for span in scope.spans]
            self._came.notify_all()

    def _count(self, export: ExportMetricsServiceRequest) -> None:
        """Keep the newest value of every counter."""
        for resource in export.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.sum.data_points:
                        labels = _plain(point.attributes)
                        key = metric.name, labels.get("http.response.status_code")
                        self.counters[key] = point.as_int

    def await_spans(self, count: int) -> list[Told]:
        with self._came:
            assert self._came.wait_for(lambda: len(self.spans) >= count, 20), self.spans
            return sorted(self.spans, key=lambda span: span.name)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _told(span: Any) -> Told:
    return Told(
        name=span.name,
        kind=span.kind,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        ok=span.status.code != 2,
        attributes=_plain(span.attributes),
        nanos=span.end_time_unix_nano - span.start_time_unix_nano,
    )


def _plain(attributes: Any) -> dict[str, Any]:
    def value(of: Any) -> Any:
        kind = of.WhichOneof("value")
        found = getattr(of, kind)
        return [value(one) for one in found.values] if kind == "array_value" else found

    return {one.key: value(one.value) for one in attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    yield found
    found.close()


class Running(NamedTuple):
    process: "subprocess.Popen[str]"
    url: str

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any, Any]:
        request = urllib.request.Request(  # noqa: S310 - loopback
            self.url + path, json.dumps(body).encode(), headers
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:  # noqa: S310
                return reply.status, json.load(reply), reply.headers
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error), error.headers

    def infer(self, *ids: str, **headers: str) -> tuple[int, Any, Any]:
        count = len(ids)
        tensor = {"name": "x", "datatype": "FP64", "shape": [count, 2], "data": [1.0] * 2 * count}
        body = {"inputs": [tensor], "parameters": {"ids": ids}}
        return self.post("/v2/models/m/infer", body, **headers)

    def stop(self) -> tuple[float, str, str]:
        """Tell it to stop; return how long that took, and what it said."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=30)
        assert self.process.returncode == 0, err
        return time.monotonic() - began, out, err


@contextmanager
def serving(settings: Settings, *words: str, **variables: str) -> Iterator[Running]:
    ready = settings.home / "run" / "inference.json"
    ready.unlink(missing_ok=True)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    environment = {**kept, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", **variables}
    with subprocess.Popen(
        [sys.executable, "-c", _SERVES, str(settings.home), *words],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            until = time.monotonic() + 20
            while not ready.exists() and server.poll() is None and time.monotonic() < until:
                time.sleep(0.01)
            assert ready.exists(), server.communicate()[1]
            yield Running(server, f"http://127.0.0.1:{json.loads(ready.read_text())['port']}")
        finally:
            server.kill()


def deploy(backend: LocalBackend, *wanted: Any) -> None:
    with backend.engine.begin() as conn:
        store.deploy(conn, "m", wanted)


def to(collector: Collector) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}


def test_a_request_is_a_span_of_the_callers_trace_with_its_scoring_below_it(
    settings: Settings, backend: LocalBackend, collector: Collector
) -> None:
    deploy(backend, live())
    with serving(settings, **to(collector)) as server:
        status, answer, headers = server.infer(
            "a", "b", traceparent=f"00-{TRACE}-{CALLER}-01", **{"User-Agent": "tester"}
        )
        whole, scoring = collector.await_spans(2)
    assert (status, answer["outputs"][0]["data"]) == (200, [2.0, 2.0])
    assert headers["traceparent"] == f"00-{TRACE}-{whole.id}-01"
    assert (whole.name, whole.kind, whole.trace, whole.parent) == (
        "POST /v2/models/{model}/infer", 2, TRACE, CALLER,
    )  # fmt: skip
    request_id = whole.attributes.pop("setpoint.request.id")
    assert request_id == answer["id"]
    assert whole.attributes == {
        "http.request.method": "POST",
        "http.route": "/v2/models/{model}/infer",
        "http.response.status_code": 200,
        "url.path": "/v2/models/m/infer",
        "url.scheme": "http",
        "user_agent.original": "tester",
        "setpoint.model": "m",
        "setpoint.version": 1,
        "setpoint.versions": [1],
        "setpoint.prediction.ids": ["a", "b"],
        "setpoint.rows": 2,
        "setpoint.roles": ["live"],
        "setpoint.fallback": False,
    }
    assert (scoring.name, scoring.trace, scoring.parent) == ("setpoint.score", TRACE, whole.id)
    assert scoring.attributes["setpoint.batch.requests"] == 1
    assert 0 < scoring.nanos < whole.nanos
    assert collector.services == {"setpoint-inference"}


def test_requests_that_waited_for_their_model_say_so_and_who_shared_the_call(
    settings: Settings, backend: LocalBackend, collector: Collector
) -> None:
    deploy(backend, live(3))
    with serving(settings, **to(collector)) as server:
        while True:  # until it is known to be slow
            server.infer("warm")
            if any(span.name == "setpoint.queue" for span in collector.await_spans(2)):
                break
        with ThreadPoolExecutor(8) as clients:
            list(clients.map(server.infer, [f"r{i}" for i in range(24)]))
        server.stop()
    spans = {span.id: span for span in collector.spans}
    asked = {f"r{i}" for i in range(24)}
    mine = [
        s for s in spans.values() if asked & set(s.attributes.get("setpoint.prediction.ids", ()))
    ]
    assert len(mine) == 24
    children = [span for span in spans.values() if span.parent in {one.id for one in mine}]
    scores = [span for span in children if span.name == "setpoint.score"]
    queues = [span for span in children if span.name == "setpoint.queue"]
    assert (len(scores), len(queues)) == (24, 24)
    assert max(span.attributes["setpoint.batch.requests"] for span in scores) > 1
    assert all(span.nanos >= 10_000_000 for span in scores)
    assert max(span.nanos for span in queues) > 5_000_000


@pytest.mark.parametrize("version", [2, 4])
def test_a_failure_is_an_error_of_its_span_and_the_log_names_the_trace(
    settings: Settings, backend: LocalBackend, collector: Collector, version: int
) -> None:
    deploy(backend, live(version))
    with serving(settings, **to(collector)) as server:
        for _ in range(40):  # the slow one goes to its thread after some
            status = server.infer("a", traceparent=f"00-{TRACE}-{CALLER}-01")[0]
            assert status == 500
        spans = collector.await_spans(80)
        _, _, said = server.stop()
    whole = next(span for span in spans if span.kind == 2)
    assert not whole.ok
    assert whole.attributes["error.type"] == "500"
    assert whole.attributes["setpoint.versions.failed"] == [version]
    assert f"model raised trace_id={TRACE}" in said
    assert "versions failed" in said or version == 2  # that one is slow on a busy machine alone
    assert said.count(TRACE) >= 40


def test_what_is_nowhere_is_named_by_its_method_and_probes_have_no_span(
    settings: Settings, backend: LocalBackend, collector: Collector
) -> None:
    deploy(backend, live())
    with serving(settings, **to(collector)) as server:
        for path in ("/healthz", "/metrics", "/v2/health/ready", "/v2/models/m/ready"):
            urllib.request.urlopen(server.url + path, timeout=10).close()  # noqa: S310
        assert server.post("/nowhere/secret", {})[0] == 404
        (span,) = collector.await_spans(1)
        server.stop()
    assert len(collector.spans) == 1
    assert (span.name, span.ok) == ("POST", True)
    assert "http.route" not in span.attributes


def test_a_caller_that_does_not_sample_is_obeyed(
    settings: Settings, backend: LocalBackend, collector: Collector
) -> None:
    deploy(backend, live())
    with serving(settings, **to(collector)) as server:
        _, _, headers = server.infer("a", traceparent=f"00-{TRACE}-{CALLER}-00")
        assert headers["traceparent"].startswith(f"00-{TRACE}-")
        assert headers["traceparent"].endswith("-00")
        server.stop()
    assert collector.spans == []


def test_calls_of_grpc_are_spans_too(
    settings: Settings, backend: LocalBackend, collector: Collector
) -> None:
    deploy(backend, live(1), canary(2, weight=1.0))  # the canary fails, the live one stands in
    port, messages = free_port(), open_inference._m
    tensor = messages.Tensor(
        name="x", datatype="FP64", shape=[1, 2], contents=messages.Contents(fp64_contents=[1, 2])
    )
    with serving(settings, str(port), **to(collector)) as server:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            asked = messages.Infer(model_name="m", inputs=[tensor]).SerializeToString()
            answer = call.with_call(
                asked, timeout=20, metadata=(("traceparent", f"00-{TRACE}-{CALLER}-01"),)
            )[1]
            back = dict(answer.initial_metadata())["traceparent"]
            with pytest.raises(grpc.RpcError):
                call(messages.Infer(model_name="nobody").SerializeToString(), timeout=20)
        spans = collector.await_spans(3)
        server.stop()
    served = {s.attributes["rpc.response.status_code"]: s for s in spans if s.kind == 2}
    assert set(served) == {"OK", "NOT_FOUND"}
    found = served["OK"]
    assert back == f"00-{TRACE}-{found.id}-01"
    assert (found.name, found.parent) == (
        "inference.GRPCInferenceService/ModelInfer", CALLER,
    )  # fmt: skip
    assert found.attributes["setpoint.version"] == 1
    assert found.attributes["setpoint.versions.failed"] == [2]
    assert found.attributes["setpoint.roles"] == ["canary"]


def test_counters_are_sent_where_they_are_asked_for(
    settings: Settings, backend: LocalBackend, collector: Collector
) -> None:
    deploy(backend, live())
    with serving(settings, **to(collector), OTEL_METRICS_EXPORTER="otlp") as server:
        for _ in range(3):
            server.infer("a", "b")
        server.post("/v2/models/m/labels", {"ids": ["a"], "labels": [1]})
        server.stop()
    assert collector.counters == {
        ("setpoint.requests", 200): 3,
        ("setpoint.rows", None): 6,
        ("setpoint.labels", None): 1,
    }


def test_a_collector_that_is_away_fails_no_request_and_holds_nothing_up(
    settings: Settings, backend: LocalBackend
) -> None:
    deploy(backend, live())
    nobody = f"http://127.0.0.1:{free_port()}"
    with serving(
        settings, OTEL_EXPORTER_OTLP_ENDPOINT=nobody, OTEL_BSP_SCHEDULE_DELAY="20"
    ) as server:
        began = time.monotonic()
        assert {server.infer(f"a{i}")[0] for i in range(200)} == {200}
        assert time.monotonic() - began < 10
        seconds, _, said = server.stop()
    assert seconds < 8
    assert "spans" in said, "it is told that they are lost"


def test_without_the_variable_nothing_of_it_is_loaded(
    settings: Settings, backend: LocalBackend
) -> None:
    deploy(backend, live())
    with serving(settings) as server:
        _, _, headers = server.infer("a", traceparent=f"00-{TRACE}-{CALLER}-01")
        assert "traceparent" not in headers
        assert server.stop()[1] == "untraced\n"


def test_a_server_without_the_extra_or_asked_for_another_protocol_serves_without_spans(
    settings: Settings, backend: LocalBackend, tmp_path: Path
) -> None:
    deploy(backend, live())
    hidden = tmp_path / "hidden"
    (hidden / "opentelemetry").mkdir(parents=True)
    (hidden / "opentelemetry" / "__init__.py").write_text("raise ImportError('not installed')\n")
    path = f"{hidden}{os.pathsep}{ROOT / 'src'}{os.pathsep}{ROOT}"
    to = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    for variables, said in (
        ({"PYTHONPATH": path}, "pip install 'setpoint[otel]'"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "only http/protobuf is spoken, not grpc"),
    ):
        with serving(settings, **to, **variables) as server:
            assert server.infer("a")[0] == 200
            assert said in server.stop()[2]
