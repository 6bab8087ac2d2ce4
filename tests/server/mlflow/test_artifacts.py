"""MLflow's artifact store over HTTP: pieces, ranges, parts, digests, and paths that would climb."""

import base64
import hashlib
import http.client
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.server.web import Answer, ask

from setpoint.artifacts.contract import address_of
from setpoint.artifacts.files import FileStore
from setpoint.artifacts.store import open_store
from setpoint.db.local import LocalBackend
from setpoint.runs import service
from setpoint.runs.commands import ListArtifacts, Start

STORE = "/api/2.0/mlflow-artifacts"
FILES = f"{STORE}/artifacts"


# Nothing here is a matter of the database; clients' stories run on both.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def put(url: str, path: str, body: bytes, **headers: str) -> Answer:
    return ask(url, f"{FILES}/{quote(path)}", method="PUT", body=body, headers=headers)


def get(url: str, path: str, **headers: str) -> Answer:
    return ask(url, f"{FILES}/{quote(path)}", headers=headers)


def listed(url: str, path: str) -> list[dict[str, Any]]:
    answer = ask(url, f"{FILES}?path={quote(path)}")
    assert answer.status == 200, answer.text
    found: list[dict[str, Any]] = json.loads(answer.body).get("files", [])
    return found


def post(url: str, call: str, **message: Any) -> Answer:
    kind = {"content-type": "application/json"}
    return ask(
        url, f"{STORE}/{call}", method="POST", body=json.dumps(message).encode(), headers=kind
    )


def test_a_file_of_a_run_is_the_runs_artifact(empty: str, backend: LocalBackend) -> None:
    run = backend.call(service.start, Start(experiment="churn"))
    path = f"{run.experiment_id}/{run.id}/artifacts/deep/model ü.bin"
    assert put(empty, path, b"weights").status == 200
    found = backend.call(service.artifacts, ListArtifacts(run=run.id)).artifacts
    assert found["deep/model ü.bin"].size == 7
    assert get(empty, path).body == b"weights"
    assert listed(empty, f"{run.experiment_id}/{run.id}/artifacts") == [
        {"path": "deep", "is_dir": True}
    ]
    answer = ask(empty, f"{FILES}/{quote(path)}", method="DELETE")
    assert answer.status == 200
    assert get(empty, path).status == 404
    assert not backend.call(service.artifacts, ListArtifacts(run=run.id)).artifacts


def test_other_paths_are_kept_and_listed_as_folders(empty: str) -> None:
    root = "1/models/m-1/artifacts"
    for name in ("MLmodel", "data/a.bin", "data/b/c.bin", "data.txt"):
        assert put(empty, f"{root}/{name}", name.encode()).status == 200
    put(empty, "1/models/m-10/artifacts/other", b"x")
    assert [each["path"] for each in listed(empty, root)] == ["MLmodel", "data", "data.txt"]
    assert listed(empty, f"{root}/data") == [
        {"path": "a.bin", "is_dir": False, "file_size": 10},
        {"path": "b", "is_dir": True},
    ]
    assert [each["path"] for each in listed(empty, "1/models")] == ["m-1", "m-10"]
    put(empty, f"{root}/MLmodel", b"changed")
    assert get(empty, f"{root}/MLmodel").body == b"changed"
    ask(empty, f"{FILES}/{root}/data", method="DELETE")
    assert [each["path"] for each in listed(empty, root)] == ["MLmodel", "data.txt"]


def test_deleting_frees_the_bytes_that_nothing_else_names(
    empty: str, backend: LocalBackend
) -> None:
    run = backend.call(service.start, Start(experiment="churn"))
    mine = f"{run.experiment_id}/{run.id}/artifacts"
    put(empty, f"{mine}/shared", b"shared")
    put(empty, f"{mine}/own", b"own")
    put(empty, "1/models/m-1/artifacts/shared", b"shared")
    put(empty, "1/models/m-1/artifacts/x/y", b"deep")
    store = open_store(backend.settings)
    ask(empty, f"{FILES}/1/models/m-1/artifacts", method="DELETE")
    assert set(store.addresses()) == {address_of(b"shared"), address_of(b"own")}
    assert get(empty, f"{mine}/shared").body == b"shared"
    ask(empty, f"{FILES}/{mine}/own", method="DELETE")
    assert set(store.addresses()) == {address_of(b"shared")}
    assert ask(empty, f"{FILES}/", method="DELETE").status == 400
    ask(empty, f"{FILES}/{mine}", method="DELETE")
    assert set(store.addresses()) == set()
    put(empty, f"{mine}/shared", b"shared")
    assert get(empty, f"{mine}/shared").body == b"shared"


def test_the_same_bytes_sent_while_they_are_deleted_are_kept_or_refused(empty: str) -> None:
    def send(number: int) -> int:
        return put(empty, f"a/{number}", b"the same").status

    def drop(number: int) -> int:
        return ask(empty, f"{FILES}/a/{number}", method="DELETE").status

    with ThreadPoolExecutor(6) as pool:
        for turn in range(6):
            sent = [pool.submit(send, turn * 3 + i) for i in range(3)]
            dropped = [pool.submit(drop, turn * 3 - 3 + i) for i in range(3)]
            assert {each.result() for each in dropped} == {200}
            for i, each in enumerate(sent):
                if each.result() == 200:
                    assert get(empty, f"a/{turn * 3 + i}").body == b"the same"
                else:
                    assert each.result() == 503


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ("bytes=0-3", slice(0, 4)),
        ("bytes=5-", slice(5, None)),
        ("bytes=-3", slice(-3, None)),
        ("bytes=8-99999999", slice(8, None)),
    ],
)
def test_a_range_is_answered_with_that_part(empty: str, asked: str, wanted: slice) -> None:
    data = os.urandom(3_000_000)
    put(empty, "a/b", data)
    answer = get(empty, "a/b", range=asked)
    assert answer.status == 206
    assert answer.body == data[wanted]
    assert answer.headers["content-range"].endswith(f"/{len(data)}")


def test_a_range_that_is_none_gives_the_whole_and_one_outside_nothing(empty: str) -> None:
    put(empty, "a/b", b"0123456789")
    for odd in ("bytes=-", "lines=1-2", "bytes=0-1,4-5"):
        assert (get(empty, "a/b", range=odd).status, get(empty, "a/b").body) == (200, b"0123456789")
    answer = get(empty, "a/b", range="bytes=10-")
    assert (answer.status, answer.headers["content-range"]) == (416, "bytes */10")


def test_a_digest_that_the_bytes_have_not_is_refused_and_nothing_is_kept(
    empty: str, backend: LocalBackend
) -> None:
    right = base64.b64encode(hashlib.sha256(b"weights").digest()).decode()
    assert put(empty, "a/b", b"weights", **{"content-digest": f"sha-256=:{right}:"}).status == 200
    md5 = base64.b64encode(hashlib.md5(b"weights", usedforsecurity=False).digest()).decode()
    assert put(empty, "a/c", b"weights", **{"content-md5": md5}).status == 200
    for header in ({"content-digest": f"sha-256=:{right}:"}, {"content-md5": md5}):
        answer = put(empty, "a/d", b"weightz", **header)
        assert answer.status == 400
        assert "send it again" in answer.text
    assert get(empty, "a/d").status == 404
    assert len(list(open_store(backend.settings).addresses())) == 1


def test_an_upload_that_breaks_off_leaves_nothing(empty: str, backend: LocalBackend) -> None:
    connection = http.client.HTTPConnection(urlsplit(empty).netloc, timeout=20)
    connection.putrequest("PUT", f"{FILES}/a/half")
    connection.putheader("content-length", "10000000")
    connection.endheaders()
    connection.send(b"x" * 1_500_000)
    connection.close()
    assert put(empty, "a/whole", b"y").status == 200
    assert [each["path"] for each in listed(empty, "a")] == ["whole"]


def test_a_corrupt_object_is_never_sent_as_if_it_were_whole(
    empty: str, backend: LocalBackend
) -> None:
    put(empty, "a/small", b"weights")
    put(empty, "a/large", b"x" * 3_000_000)
    store = FileStore(backend.settings.objects)
    for address in store.addresses():
        path = store.path(address)
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    answer = get(empty, "a/small")
    assert answer.status == 400
    assert "corrupt" in answer.text
    with pytest.raises(http.client.IncompleteRead):
        get(empty, "a/large")


def test_parts_arrive_in_any_order_and_become_one_file(empty: str, backend: LocalBackend) -> None:
    data = os.urandom(2_500_000)
    begun = json.loads(post(empty, "mpu/create/a/b", path="/tmp/x.bin", num_parts=3).body)  # noqa: S108 - a name
    pieces = [data[start : start + 1_000_000] for start in range(0, len(data), 1_000_000)]

    def send(number: int) -> int:
        path = urlsplit(begun["credentials"][number]["url"]).path
        return ask(empty, path, method="PUT", body=pieces[number], headers={}).status

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(send, [2, 0, 1])) == [200] * 3
    assert send(1) == 200
    parts = [{"part_number": number, "etag": "x"} for number in (1, 2, 3)]
    ending = {"path": "/tmp/x.bin", "upload_id": begun["upload_id"], "parts": parts}  # noqa: S108
    assert post(empty, "mpu/complete/a/b", **ending).status == 200
    assert get(empty, "a/b/x.bin").body == data
    assert post(empty, "mpu/complete/a/b", **ending).status == 404
    where = json.loads(ask(empty, f"{STORE}/presigned/a/b/x.bin").body)
    assert where["file_size"] == len(data)
    assert ask(empty, urlsplit(where["url"]).path).body == data
    assert set(open_store(backend.settings).addresses()) == {address_of(data)}


def test_an_upload_without_all_its_parts_is_refused_and_can_be_given_up(empty: str) -> None:
    begun = json.loads(post(empty, "mpu/create", path="x.bin", num_parts=2).body)
    ending = {"path": "x.bin", "upload_id": begun["upload_id"], "parts": [{"part_number": 1}]}
    answer = post(empty, "mpu/complete", **ending)
    assert (answer.status, "Part 1" in answer.text) == (400, True)
    assert post(empty, "mpu/abort", **ending).status == 200
    assert post(empty, "mpu/abort", **ending).status == 404
    assert post(empty, "mpu/abort", path="x", upload_id="../../objects").status == 404
    assert post(empty, "mpu/create", path="x.bin", num_parts=0).status == 400
    path = f"{STORE}/mpu/part/{begun['upload_id']}/1"
    assert ask(empty, path, method="PUT", body=b"x", headers={}).status == 404


CLIMBING = [
    "../secret",
    "a/../../secret",
    "a/..",
    "/etc/passwd",
    "a//b",
    "./a",
    "a/./b",
    "%2e%2e/secret",
    "a/%252e%252e/b",
    "a\\..\\b",
    "a\x00b",
    "a\nb",
    "x" * 5000,
]


@pytest.mark.parametrize("path", CLIMBING)
def test_a_path_that_would_climb_is_refused(path: str, empty: str) -> None:
    for answer in (put(empty, path, b"x"), ask(empty, f"{FILES}?path={quote(path)}")):
        assert answer.status in {400, 404}, answer.text
    assert listed(empty, "") == []


@given(path=st.text(st.characters(codec="utf-8"), min_size=1, max_size=60))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_name_is_kept_as_it_is_or_refused(
    path: str, empty: str, backend: LocalBackend, tmp_path: Path
) -> None:
    before = {each for each in tmp_path.rglob("*") if "objects" not in each.parts}
    answer = put(empty, f"t/{path}", path.encode())
    if answer.status == 200:
        assert get(empty, f"t/{path}").body == path.encode()
        ask(empty, f"{FILES}/{quote(f't/{path}')}", method="DELETE")
    else:
        assert answer.status in {400, 404}
    after = {each for each in tmp_path.rglob("*") if "objects" not in each.parts}
    assert {each.suffix for each in after - before} <= {".db-wal", ".db-shm"}


@pytest.mark.slow
def test_a_large_file_costs_no_memory(empty: str) -> None:
    piece, count = os.urandom(1 << 20), 200
    process = psutil.Process()
    put(empty, "warm/up", piece * 4)
    get(empty, "warm/up")
    before = process.memory_info().rss
    connection = http.client.HTTPConnection(urlsplit(empty).netloc, timeout=60)
    connection.request(
        "PUT",
        f"{FILES}/a/large",
        (piece for _ in range(count)),
        {"content-length": str(count << 20)},
    )
    assert connection.getresponse().read() == b"{}"
    connection.request("GET", f"{FILES}/a/large")
    reply, size, most = connection.getresponse(), 0, before
    while data := reply.read(1 << 20):
        size += len(data)
        most = max(most, process.memory_info().rss)
    assert size == count << 20
    assert most - before < 60 << 20
    connection.close()
