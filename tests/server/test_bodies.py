"""Large bodies go from the socket into the store: whatever a client does, whole or not at all."""

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import BinaryIO
from urllib.parse import urlsplit

import pytest
from tests.server.conftest import serving

from setpoint.artifacts.contract import address_of
from setpoint.artifacts.store import open_store
from setpoint.db.local import LocalBackend
from setpoint.server.app import create_app

MB = 1 << 20


def content(size: int, seed: int = 7) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311 - the same bytes each time


def put(address: str, size: int, more: str = "") -> bytes:
    line = f"PUT /objects/{address} HTTP/1.1\r\nhost: 127.0.0.1\r\n"
    return f"{line}content-length: {size}\r\n{more}\r\n".encode()


@contextmanager
def connected(site: str) -> Iterator[tuple[socket.socket, BinaryIO]]:
    place = urlsplit(site)
    with (
        socket.create_connection((place.hostname, place.port), timeout=30) as wire,
        wire.makefile("rb") as answers,
    ):
        yield wire, answers


def answer(answers: BinaryIO) -> tuple[int, bytes]:
    """Return the status and body of the next answer on a connection."""
    status = int(answers.readline().split()[1])
    length = 0
    while line := answers.readline().strip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return status, answers.read(length)


def test_one_connection_carries_many_large_bodies(empty: str, backend: LocalBackend) -> None:
    with connected(empty) as (wire, answers):
        for seed, size in enumerate((2 * MB, 2 * MB + 1, 5 * MB - 1, 300, 9 * MB)):
            data = content(size, seed)
            wire.sendall(put(address_of(data), size) + data)
            assert answer(answers)[0] == 201
            assert open_store(backend.settings).get(address_of(data)) == data
        wire.sendall(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        assert answer(answers)[0] == 200


def test_requests_behind_a_large_body_are_answered_in_turn(
    empty: str, backend: LocalBackend
) -> None:
    first, second = content(4 * MB, 1), content(3 * MB + 5, 2)
    asked = put(address_of(first), len(first)) + first
    asked += b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    asked += put(address_of(second), len(second)) + second
    with connected(empty) as (wire, answers):
        sender = threading.Thread(target=wire.sendall, args=[asked])
        sender.start()
        assert [answer(answers)[0] for _ in range(3)] == [201, 200, 201]
        sender.join()
    assert open_store(backend.settings).get(address_of(second)) == second


def test_a_client_that_waits_is_told_to_go_on(empty: str) -> None:
    data = content(3 * MB)
    with connected(empty) as (wire, answers):
        wire.sendall(put(address_of(data), len(data), "expect: 100-continue\r\n"))
        assert answers.readline().startswith(b"HTTP/1.1 100")
        answers.readline()
        wire.sendall(data)
        assert answer(answers)[0] == 201


def test_what_is_refused_is_still_taken_off_the_wire(empty: str, backend: LocalBackend) -> None:
    data = content(40 * MB)
    with connected(empty) as (wire, answers):
        for _ in range(2):
            wire.sendall(put(address_of(b"other"), len(data)) + data)
            status, said = answer(answers)
            assert status == 400
            assert address_of(data).encode() in said
        wire.sendall(put("b3:zz", len(data)) + data)  # answered before the body is read
        assert answer(answers)[0] == 400
        wire.sendall(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        assert answer(answers)[0] == 200
    assert not list(open_store(backend.settings).addresses())


@pytest.mark.parametrize("sent", [0, 100, MB, 2 * MB + 3, 5 * MB - 1])
def test_a_client_that_leaves_leaves_nothing(backend: LocalBackend, sent: int) -> None:
    data = content(5 * MB)
    with serving(create_app(backend)) as site:
        with connected(site) as (wire, _):
            wire.sendall(put(address_of(data), len(data)) + data[:sent])
        with connected(site) as (wire, answers):  # the server goes on
            wire.sendall(put(address_of(b"small"), 5) + b"small")
            assert answer(answers)[0] == 201
    root = backend.settings.objects
    assert not list(root.glob(".put-*"))
    assert list(open_store(backend.settings).addresses()) == [address_of(b"small")]


def test_how_a_body_is_cut_changes_nothing(empty: str, backend: LocalBackend) -> None:
    chance = random.Random(3)  # noqa: S311 - the same cuts each time
    store = open_store(backend.settings)
    with connected(empty) as (wire, answers):
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for turn in range(25):
            data = content(chance.randint(2 * MB, 5 * MB), turn)
            asked = put(address_of(data), len(data)) + data
            cuts = sorted(chance.choices(range(len(asked)), k=chance.randint(0, 12)))
            for start, stop in pairwise([0, *cuts, len(asked)]):
                wire.sendall(asked[start:stop])
            assert answer(answers)[0] == 201
            assert store.get(address_of(data)) == data
