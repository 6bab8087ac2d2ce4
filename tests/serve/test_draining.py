"""A server that is told to end answers what it accepted, says so, and loses nothing."""

import http.client
import json
import signal
import socket
import threading
import time
from contextlib import closing
from typing import Any

import grpc
import pytest
from tests.ports import free_port

from setpoint.config import Settings
from setpoint.db.local import LocalBackend
from setpoint.serve.entities import PredictionRecord
from setpoint.serve.grpc.open_inference import _m
from setpoint.serve.log import read

from .load import Client, body, under_load
from .processes import deploy_two, process

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def deployed(backend: LocalBackend) -> None:
    deploy_two(backend)


class Asked:
    """A request for a model that sleeps, sent from a thread."""

    def __init__(self, port: int, seconds: float) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.trouble = ""
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._connection.request("POST", *body("sleeps", seconds))
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        try:
            reply = self._connection.getresponse()
            reply.read()
            self.status, self.headers = reply.status, dict(reply.getheaders())
        except (OSError, http.client.HTTPException) as error:
            self.trouble = repr(error)
        self._connection.close()


def ids(settings: Settings) -> set[str]:
    records = [one for _, one in read(settings.log) if isinstance(one, PredictionRecord)]
    return {row for record in records for row in record.ids}


@pytest.mark.usefixtures("deployed")
def test_nothing_accepted_is_lost_under_load(settings: Settings) -> None:
    for _ in range(3):
        with process(settings) as (server, port):
            clients = [*under_load(port, 4), *(Client(port, fresh=True) for _ in range(4))]
            slow = Asked(port, 0.7)
            time.sleep(0.1)
            server.send_signal(signal.SIGTERM)
            assert server.wait(10) == 0
            for client in clients:
                client.stop()
            slow.thread.join()
        assert [lost for client in clients for lost in client.lost] == []
        assert [status for client in clients for status in client.failed] == []
        assert (slow.status, slow.trouble, slow.headers.get("connection")) == (200, "", "close")
        assert {row for client in clients for row in client.answered} <= ids(settings)


@pytest.mark.usefixtures("deployed")
def test_while_it_ends_it_says_that_it_is_not_ready_and_accepts_no_more(
    settings: Settings,
) -> None:
    with (
        process(settings) as (server, port),
        closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as known,
        socket.create_connection(("127.0.0.1", port), timeout=10) as half,
    ):
        assert told(known) == (200, None)
        slow = Asked(port, 1.5)
        path, sent = body()
        half.sendall(
            f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {len(sent)}\r\n\r\n".encode()
        )
        time.sleep(0.1)
        server.send_signal(signal.SIGTERM)
        while (said := told(known)) == (200, None):
            time.sleep(0.01)
        assert said == (503, "close")
        refused(port)
        half.sendall(sent)
        answer = half.makefile("rb").read()  # to its end: it was the connection's last
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer
        assert slow.thread.is_alive(), "it is waited for"
        slow.thread.join()
        assert slow.status == 200
        assert server.wait(5) == 0


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize("signals", [1, 2])
def test_what_takes_longer_than_the_drain_is_given_up_at_a_second_signal_at_once(
    settings: Settings, signals: int
) -> None:
    with process(settings, drain=1.0 if signals == 1 else 30.0) as (server, port):
        slow = Asked(port, 20.0)
        time.sleep(0.2)
        began = time.monotonic()
        for _ in range(signals):
            server.send_signal(signal.SIGTERM)
            time.sleep(0.3)
        assert server.wait(10) == 0
        took = time.monotonic() - began
        assert took < 3
        assert took > (1.0 if signals == 1 else 0.3)
        slow.thread.join()
        assert slow.trouble


@pytest.mark.usefixtures("deployed")
def test_calls_of_grpc_are_finished_too(settings: Settings) -> None:
    at = free_port()
    with (
        process(settings, grpc_port=at) as (server, _),
        grpc.insecure_channel(f"127.0.0.1:{at}") as channel,
    ):
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=_m.Infer.SerializeToString,
            response_deserializer=_m.Inferred.FromString,
        )

        def asked(seconds: float) -> Any:
            contents = _m.Contents(fp64_contents=[seconds, 1.0])
            rows = _m.Tensor(name="x", datatype="FP64", shape=[1, 2], contents=contents)
            return _m.Infer(model_name="sleeps", inputs=[rows])

        slow = call.future(asked(1.0), timeout=10)
        time.sleep(0.3)
        server.send_signal(signal.SIGTERM)
        assert list(slow.result().outputs[0].contents.fp64_contents) == [2.0]
        assert server.wait(10) == 0


def told(connection: http.client.HTTPConnection) -> tuple[int, str | None]:
    connection.request("GET", "/v2/health/ready")
    reply = connection.getresponse()
    json.loads(reply.read())
    return reply.status, reply.getheader("connection")


def refused(port: int) -> None:
    """Return once no connection is accepted any more."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return
        time.sleep(0.01)
    pytest.fail("connections are still accepted")
