"""Artifacts by address: what arrives is what was named, and leaves in pieces."""

import http.client
from urllib.parse import urlsplit

import pytest

from setpoint.artifacts.contract import address_of
from setpoint.artifacts.files import FileStore
from setpoint.artifacts.store import open_store
from setpoint.db.local import LocalBackend
from setpoint.errors import Invalid
from setpoint.sdk.remote import HttpBackend

LARGE = bytes(range(256)) * 20_000


def ask(site: str, method: str, address: str, body: bytes | None = None) -> tuple[int, bytes, str]:
    connection = http.client.HTTPConnection(urlsplit(site).netloc, timeout=30)
    connection.request(method, f"/objects/{address}", body)
    answer = connection.getresponse()
    found = answer.status, answer.read(), answer.headers.get("content-length", "")
    connection.close()
    return found


def test_an_object_comes_back_as_it_was_sent(empty: str, backend: LocalBackend) -> None:
    address = address_of(LARGE)
    assert ask(empty, "HEAD", address)[0] == 404
    assert ask(empty, "PUT", address, LARGE)[0] == 201
    assert ask(empty, "PUT", address, LARGE)[0] == 204
    assert ask(empty, "GET", address)[1] == LARGE
    assert ask(empty, "HEAD", address) == (200, b"", str(len(LARGE)))
    assert open_store(backend.settings).get(address) == LARGE


def test_bytes_with_another_address_are_refused_and_leave_nothing(
    empty: str, backend: LocalBackend
) -> None:
    status, said, _ = ask(empty, "PUT", address_of(b"other"), LARGE)
    assert status == 400
    assert address_of(LARGE).encode() in said
    assert not list(open_store(backend.settings).addresses())


def test_a_client_is_told_which_objects_are_missing(empty: str, backend: LocalBackend) -> None:
    here, gone = open_store(backend.settings).put(b"here"), address_of(b"gone")
    far = HttpBackend(empty)
    assert far.missing([here, gone]) == [gone]
    with pytest.raises(Invalid, match="no artifact address"):
        far.missing(["../../etc/passwd"])
    far.close()


def test_an_address_cannot_leave_the_store(empty: str) -> None:
    for address in ("..%2F..%2Fsetpoint.db", "b3:zz", "b3:" + "0" * 63):
        assert ask(empty, "PUT", address, b"x")[0] in {400, 404, 405}


def test_a_damaged_object_is_not_sent_as_whole(empty: str, backend: LocalBackend) -> None:
    store = FileStore(backend.settings.objects)
    address = store.put(b"whole")
    store.path(address).write_bytes(b"wrong")
    assert ask(empty, "GET", address)[0] == 400
