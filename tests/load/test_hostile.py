"""Clients that mean no good, against real servers, beside one that only wants its answers."""

import resource
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

import msgspec
import pytest
from tests.load import clients
from tests.load.wire import BODY, Cut, Wire, infer, request
from tests.serve.made import live
from tests.serve.processes import process

from setpoint.config import Settings
from setpoint.db.local import LocalBackend
from setpoint.serve import store
from setpoint.serve.entities import EndpointSettings

pytestmark = [
    pytest.mark.load,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]

CLIENT_SECONDS = 2.0  #: that a client may keep these servers waiting
IDLE = clients.of(300, 5_000)
MANY = clients.of(20, 200)
MOST_MILLIS = 1_500.0  #: the slowest of a hundred answers to others, on a machine full of tests


class Well:
    """A client that behaves, and measures how it is treated."""

    def __init__(self, port: int) -> None:
        self.millis: list[float] = []
        self.wrong: list[str] = []
        self._port = port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def check(self) -> None:
        """Fail if anything went wrong, or was much too slow."""
        assert self.wrong == []
        ranked = sorted(self.millis)
        assert len(ranked) > 20
        assert ranked[int(len(ranked) * 0.99)] < MOST_MILLIS, ranked[-5:]

    def _run(self) -> None:
        wire = Wire(self._port)
        count = 0
        while not self._stop.wait(0.002):
            began = time.perf_counter()
            try:
                if count % 20 == 0:  # a new connection now and then
                    wire.close()
                    wire = Wire(self._port)
                answer = wire.ask(infer(BODY, "x-other: 1") if count % 3 else infer())
                if answer.status != 200:
                    self.wrong.append(str(answer))
            except (OSError, Cut) as error:
                self.wrong.append(repr(error))
                wire = Wire(self._port)
            self.millis.append((time.perf_counter() - began) * 1_000)
            count += 1
        wire.close()


@pytest.fixture(params=[1, 2] if clients.LONG else [1], ids="of {} processes".format)
def port(
    request: pytest.FixtureRequest,
    settings: Settings,
    backend: LocalBackend,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[int]:
    monkeypatch.setenv("SETPOINT_SERVE_CLIENT_SECONDS", str(CLIENT_SECONDS))
    with backend.engine.begin() as conn:
        store.deploy(conn, "m", [live()])
        store.configure(conn, "m", EndpointSettings(body=40_000_000))
    options = {} if request.param == 1 else {"workers": request.param}
    with process(settings, **options) as (_, found):
        yield found


def ended(wire: Wire, within: float = 30.0) -> bytes:
    """Return what a server still says on a connection before it ends it."""
    wire.socket.settimeout(within)
    return wire.rest()


@contextmanager
def beside(port: int) -> Iterator[None]:
    """Have a client ask meanwhile that must notice nothing."""
    with Well(port) as well:
        yield
        end = time.monotonic() + 20
        while len(well.millis) < 50 and time.monotonic() < end:
            time.sleep(0.01)
    well.check()


def test_heads_and_bodies_that_never_end_are_ended(port: int) -> None:
    halves = (
        b"P",
        infer()[:30],
        infer()[: -len(BODY)],  # a head that is known, on the short way
        infer()[:-1],
        infer(BODY, "x-other: 1")[:-1],
        request("/v2/models/m/infer", None, "transfer-encoding: chunked", method="POST"),
        request("/v2/models/m/infer", None, "transfer-encoding: chunked", method="POST")
        + b'5\r\n{"inp',
    )
    with beside(port):
        wires = [Wire(port).send(infer(), half) for half in halves for _ in range(MANY // 10)]
        wires += [Wire(port).send(half) for half in halves for _ in range(MANY // 10)]
        for wire in wires:
            said = ended(wire)
            assert b"HTTP/1.1 408 Request Timeout" in said
            assert said.endswith(b"Request Timeout")


def test_bytes_now_and_then_are_no_progress(port: int) -> None:
    with beside(port):
        wires = [Wire(port) for _ in range(MANY)]
        slow = infer(BODY, "x-other: 1")
        end = time.monotonic() + 30
        open_, at = list(wires), 0
        while open_ and time.monotonic() < end:
            for wire in list(open_):
                try:
                    wire.send(slow[at : at + 1])
                except OSError:
                    open_.remove(wire)
            at += 1
            time.sleep(0.1)
            if at == len(slow) - 1:
                break
        assert not open_, "they were ended before they came to an end"


def test_a_client_that_is_slow_and_not_too_slow_is_answered(port: int) -> None:
    body = msgspec.json.encode(
        {"inputs": [{"name": "x", "datatype": "FP64", "shape": [4_000, 2], "data": [1.5] * 8_000}]}
    )
    wire = Wire(port)
    sent = infer(body)
    step = len(sent) // 20
    for at in range(0, len(sent), step):  # four seconds, at 8 KB a second
        wire.send(sent[at : at + step])
        time.sleep(0.2)
    assert wire.answer().status == 200


def test_clients_that_never_read_are_ended(port: int) -> None:
    rows = 100_000
    tensor = {"name": "x", "datatype": "FP64", "shape": [rows, 2], "data": [1.5] * 2 * rows}
    large = infer(msgspec.json.encode({"inputs": [tensor]}))  # megabytes of answer, with ids
    with beside(port):
        wires = [Wire(port) for _ in range(4)]
        for wire in wires:
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            wire.send(large)
        end = time.monotonic() + 40
        for wire in wires:
            while time.monotonic() < end:
                try:
                    wire.socket.send(b"x", socket.MSG_DONTWAIT)
                except BlockingIOError:
                    pass
                except OSError:
                    break
                time.sleep(0.1)
            else:
                pytest.fail("a client that reads nothing is still served")


def test_whoever_hangs_up_in_the_middle_harms_nobody(port: int) -> None:
    linger = struct.pack("ii", 1, 0)  # a reset instead of an end
    sent = (infer(), infer(BODY, "x-other: 1"), request("/metrics"), infer()[:-5], infer()[:9])
    with beside(port):
        for number in range(MANY * 5):
            wire = Wire(port).send(sent[number % len(sent)])
            if number % 2:
                wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            elif number % 3 == 0:
                wire.socket.shutdown(socket.SHUT_WR)
                said = ended(wire)
                assert said == b"" or said.startswith(b"HTTP/1.1 200")
            wire.close()


def test_what_is_no_http_is_refused_and_hung_up_on(port: int) -> None:
    hello = bytes.fromhex("16030100a5010000a10303") + bytes(160)
    endless = b"GET /" + b"a" * 300_000 + b" HTTP/1.1\r\n\r\n"
    flood = b"GET / HTTP/1.1\r\n" + b"x-a: bbbbbbbbbbbbbbbbbbbbb\r\n" * 20_000
    one = b"POST /v2/models/m/infer HTTP/1.1\r\nx-a: " + b"b" * 2_000_000
    chunked = "transfer-encoding: chunked"
    post = request("/v2/models/m/infer", None, chunked, method="POST")
    for expected, sent in (
        (b" 400 ", hello),
        (b" 400 ", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"),
        (b" 400 ", b"\xff\xfe\r\n\r\n"),
        (b" 400 ", b"GET /\xff\xfe HTTP/1.1\r\n\r\n"),
        (b" 400 ", b"GET / HTTP/9.9\r\n\r\n"),
        (b" 400 ", b"POST /v2/models/m/infer HTTP/1.1\r\ncontent-length: -1\r\n\r\n"),
        (b" 400 ", b"POST /v2/models/m/infer HTTP/1.1\r\ncontent-length: 1e3\r\n\r\n"),
        (b" 400 ", request("/v2/models/m/infer", BODY, "content-length: 7")),
        (b" 400 ", request("/v2/models/m/infer", BODY, chunked)),
        (b" 400 ", post + b"zz\r\n"),
        (b" 400 ", post + b"5\r\nabcdefghijk\r\n0\r\n\r\n"),
        (b" 400 ", post + b"fffffffffffffffffffff\r\n"),
        (b" 431 ", endless),
        (b" 431 ", flood),
        (b" 431 ", one),
        (b" 431 ", post + b"1\r\n{\r\n0\r\n" + b"x-a: b\r\n" * 100_000),
    ):
        wire = Wire(port)
        with suppress(OSError):  # it may be hung up on before it has said all
            wire.send(sent)
        said = ended(wire, 5.0)
        assert said == b"" or expected in said[:20], (sent[:60], said[:100])
        assert said or expected == b" 431 ", sent[:60]  # the answer may be lost with the rest
        wire.close()
    with beside(port):
        pass


def test_lies_about_lengths_are_found_out(port: int) -> None:
    with beside(port):
        for said in ("99999999", "99999999999", "9223372036854775807"):
            head = f"POST /v2/models/m/infer HTTP/1.1\r\nhost: a\r\ncontent-length: {said}\r\n\r\n"
            assert Wire(port).ask(head.encode()).status == 413
        assert Wire(port).ask(request("/v2/models/m/infer", b"", method="POST")).status == 400
        assert Wire(port).send(infer(), BODY).answer().status == 200
        wire = Wire(port).send(infer() + BODY)  # more than it said: the rest is no request
        assert wire.answer().status == 200
        assert ended(wire) == b"", "behind an answer there is no other to what is no request"


def test_a_refused_body_that_goes_on_for_ever_is_ended(port: int) -> None:
    head = b"POST /v2/models/m/infer HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999\r\n\r\n"
    with beside(port):
        wire = Wire(port)
        assert wire.ask(head).status == 413
        sent = 0
        with suppress(OSError):
            while sent < 500_000_000:
                sent += wire.socket.send(b"x" * 65_536)
        assert sent < 200_000_000


def test_old_and_pipelined_requests_are_answered_in_turn(port: int) -> None:
    old = infer().replace(b"HTTP/1.1", b"HTTP/1.0")
    assert ended(Wire(port).send(old)).startswith(b"HTTP/1.1 200")
    wire = Wire(port)
    several = (infer(), request("/v2"), infer(b"{}"), infer(BODY, "x-other: 1"), infer(model="x"))
    wire.send(b"".join(several) * 20)
    for _ in range(20):
        assert [wire.answer().status for _ in several] == [200, 200, 400, 200, 404]
    wire.send(infer(BODY, "x-other: 1") + b"\0\1nonsense\r\n\r\n")  # behind a good one
    assert ended(wire).startswith(b"HTTP/1.1 200")


def test_an_upgrade_is_not_taken_up(port: int) -> None:
    for more in (
        ("connection: upgrade", "upgrade: h2c"),
        ("connection: upgrade", "upgrade: websocket"),
    ):
        assert Wire(port).ask(infer(BODY, *more)).status in {200, 400}
        assert Wire(port).ask(request("/v2", None, *more)).status == 200


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < IDLE + 500:
        pytest.skip(f"{IDLE + 500} open files are needed, {hard} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, IDLE + 500), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_thousands_of_idle_connections_are_kept_and_keep_nobody_waiting(port: int) -> None:
    wires = []
    with beside(port):
        for number in range(IDLE):
            wires.append(Wire(port))
            if number % 2:
                wires[-1].send(infer())
        for wire in wires[1::2]:
            assert wire.answer().status == 200
    for wire in wires[:: max(IDLE // 200, 1)]:
        assert wire.ask(infer()).status == 200, "it was idle and no harm"
    for wire in wires:
        wire.close()
