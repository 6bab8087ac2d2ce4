"""Artifacts in a bucket: what goes wrong there is told in one sentence, and loses nothing."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import obstore
import pytest
from msgspec.structs import replace
from tests.s3_server import S3Server

from setpoint import config
from setpoint.artifacts import s3 as module
from setpoint.artifacts.contract import ObjectStore, address_of
from setpoint.artifacts.files import FileStore
from setpoint.artifacts.home import service as artifacts
from setpoint.artifacts.s3 import PART, S3Store
from setpoint.artifacts.store import free, open_store
from setpoint.config import Aws, Settings
from setpoint.db.local import open_local
from setpoint.errors import Invalid, MissingExtra, Unavailable


@pytest.fixture(scope="module")
def bucket(s3: S3Server) -> str:
    return s3.make()


@pytest.fixture
def settings(s3: S3Server, bucket: str, tmp_path: Path) -> Settings:
    url = f"sqlite:///{tmp_path / 'setpoint.db'}"
    where = f"{bucket}/{tmp_path.name}"
    return Settings(home=tmp_path, database_url=url, actor="a", artifact_url=where, aws=s3.aws)


WAYS: dict[str, Callable[[ObjectStore], object]] = {
    "put": lambda store: store.put(b"weights"),
    "put in parts": lambda store: store.put(bytes(PART + 1)),
    "get": lambda store: store.get(address_of(b"weights")),
    "part": lambda store: store.read(address_of(b"weights"), 1, 3),
    "list": lambda store: list(store.addresses()),
    "delete": lambda store: store.delete([address_of(b"weights")]),
}


@pytest.mark.parametrize("way", WAYS)
def test_wrong_credentials_are_told_as_such(way: str, settings: Settings, s3: S3Server) -> None:
    wrong = replace(settings, aws=replace(s3.aws, secret_access_key="no"))  # noqa: S106
    with pytest.raises(Unavailable, match="refuses these credentials") as caught:
        WAYS[way](open_store(wrong))
    assert "AWS_SECRET_ACCESS_KEY" in caught.value.hint
    assert s3.endpoint in caught.value.where


@pytest.mark.parametrize("way", WAYS)
def test_a_bucket_that_is_not_there_is_told_as_such(way: str, settings: Settings) -> None:
    # This server says of one who may not make buckets only that putting is forbidden.
    says = "refuses.*AccessDenied" if way.startswith("put") else "there is no bucket 'nobodys'"
    with pytest.raises(Unavailable, match=says) as caught:
        WAYS[way](open_store(replace(settings, artifact_url="s3://nobodys/x")))
    assert "bucket" in caught.value.hint + caught.value.message


@pytest.mark.parametrize("way", WAYS)
def test_a_service_that_is_away_is_told_as_such(
    way: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", module._PATIENCE._replace(tries=0))
    away = replace(settings, aws=replace(settings.aws, endpoint="http://127.0.0.1:9"))
    with pytest.raises(Unavailable, match="cannot be reached") as caught:
        WAYS[way](open_store(away))
    assert "AWS_ENDPOINT_URL" in caught.value.hint


def start(settings: Settings) -> None:
    """Do what a server does with its store before it answers."""
    backend = open_local(settings)
    try:
        artifacts.require(backend)
    finally:
        backend.engine.dispose()


def test_what_is_wrong_is_told_at_the_start(settings: Settings) -> None:
    start(settings)
    for wrong, says in (
        ({"artifact_url": "s3://nobodys/x"}, "no bucket"),
        ({"aws": replace(settings.aws, access_key_id="nobody")}, "refuses"),
    ):
        with pytest.raises(Unavailable, match=says):
            start(replace(settings, **wrong))


@pytest.mark.parametrize("url", ["bucket/x", "s3://", "http://x/y", "file:///tmp/x", "s3:bucket"])
def test_another_address_is_refused(url: str, settings: Settings) -> None:
    with pytest.raises(Invalid, match="no place for artifacts"):
        open_store(replace(settings, artifact_url=url))


def test_no_secret_is_ever_shown(settings: Settings) -> None:
    secret = str(settings.aws.secret_access_key)
    assert secret not in repr(settings)
    assert isinstance(open_store(settings), S3Store)
    assert secret not in str(open_store(settings))


def test_one_store_keeps_its_connections(settings: Settings) -> None:
    assert open_store(settings) is open_store(replace(settings, actor="another"))


def test_nothing_stays_on_this_machine(settings: Settings) -> None:
    store = open_store(settings)
    with store.incoming() as file:
        file.write(os.urandom(PART + 1))
        assert list(settings.aside.iterdir()) == [], "a kill here would leave something"
        file.commit()
    assert list(settings.aside.iterdir()) == []


def test_bytes_are_counted_and_freed(settings: Settings) -> None:
    store = open_store(settings)
    some = {store.put(bytes([i]) * 1_000) for i in range(5)}
    never = address_of(b"never")
    assert free(store, [*some, never], dry=True) == (5, 5_000)
    assert set(store.addresses()) == some
    assert free(store, [*some, never]) == (5, 5_000)
    assert list(store.addresses()) == []


def test_what_is_stored_again_counts_as_new(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(settings)
    monkeypatch.setattr(module, "_RECENT", -60.0)  # all was stored long ago
    for data in (b"small", os.urandom(PART + 1)):
        before = store.find([store.put(data)])
        sent: list[int] = []
        keep = S3Store.keep
        monkeypatch.setattr(
            S3Store, "keep", lambda *args, k=keep, s=sent: (s.append(args[-1]), k(*args))
        )
        assert store.find([store.put(data)]).keys() == before.keys()
        assert sent == [len(data)]
        monkeypatch.setattr(S3Store, "keep", keep)


def test_a_large_object_of_a_moment_ago_is_not_sent_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, data = open_store(settings), os.urandom(PART + 1)
    address = store.put(data)
    monkeypatch.setattr(S3Store, "keep", None)  # would fail
    assert store.put(data) == address


def test_the_files_of_a_home_may_be_copied_into_a_bucket_as_they_are(settings: Settings) -> None:
    files, store = FileStore(settings.objects), open_store(settings)
    address = files.put(b"from before")
    assert isinstance(store, S3Store)
    for path in settings.objects.glob("*/*"):
        name = str(path.relative_to(settings.objects))
        obstore.put(store._bucket.client, name, path.read_bytes())
    assert store.get(address) == b"from before"
    assert list(store.addresses()) == [address]


def test_a_missing_client_says_what_to_install(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    for name in ("s3", "bucket"):
        monkeypatch.delitem(sys.modules, f"setpoint.artifacts.{name}")
    with pytest.raises(MissingExtra) as caught:
        open_store(replace(settings, artifact_url="s3://not-opened-before"))
    assert "setpoint[s3]" in caught.value.hint


_FORKS = """
import os, sys
from pathlib import Path
from setpoint.artifacts.s3 import S3Store
from setpoint.config import Aws
from setpoint.errors import Unavailable
url, endpoint, key, secret, folder = sys.argv[1:]
aws = Aws(endpoint=endpoint, access_key_id=key, secret_access_key=secret)
store = S3Store(url, aws, Path(folder))
store.put(b"from the parent")
if os.fork() == 0:
    try:
        store.put(b"from the child")
    except Unavailable as error:
        os._exit(7 if "forked" in error.message else 1)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


def test_a_forked_process_is_told_and_does_not_wait_for_ever(settings: Settings) -> None:
    aws = settings.aws
    given = (settings.artifact_url, aws.endpoint, aws.access_key_id, aws.secret_access_key)
    command = [sys.executable, "-c", _FORKS, *map(str, given), str(settings.home)]
    assert subprocess.run(command, timeout=60, check=False).returncode == 7


_PASSES = """
import os, sys
from pathlib import Path
from setpoint.artifacts.s3 import S3Store
from setpoint.config import Aws

def megabytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024

url, endpoint, key, secret, folder = sys.argv[1:]
aws = Aws(endpoint=endpoint, access_key_id=key, secret_access_key=secret)
store = S3Store(url, aws, Path(folder))
store.get(store.put(b"all that is imported is"))
before, piece = megabytes("VmRSS"), os.urandom(1 << 20)
with store.incoming() as file:
    for _ in range(96):
        file.write(piece)
    address, size = file.commit()
assert sum(map(len, store.chunks(address))) == size
print(megabytes("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_large_file_passes_through_little_memory(settings: Settings) -> None:
    aws = settings.aws
    given = (settings.artifact_url, aws.endpoint, aws.access_key_id, aws.secret_access_key)
    command = [sys.executable, "-c", _PASSES, *map(str, given), str(settings.home)]
    done = subprocess.run(command, timeout=120, check=True, capture_output=True, text=True)
    assert float(done.stdout) < 30


def test_credentials_are_found_where_every_tool_finds_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SETPOINT_ARTIFACT_URL", "s3://b/p")
    for name, value in (
        ("AWS_ENDPOINT_URL", "http://general"),
        ("AWS_ENDPOINT_URL_S3", "http://s3"),
        ("AWS_DEFAULT_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "me"),
        ("AWS_SECRET_ACCESS_KEY", "hush"),
    ):
        monkeypatch.setenv(name, value)
    found = config.settings("home")
    assert found.artifact_url == "s3://b/p"
    assert found.aws == Aws(
        endpoint="http://s3",
        region="eu-west-1",
        access_key_id="me",
        secret_access_key="hush",  # noqa: S106
    )
    told = config.environment(config.settings("home", artifact_url="s3://c"))
    assert (told["SETPOINT_ARTIFACT_URL"], told["AWS_SECRET_ACCESS_KEY"]) == ("s3://c", "hush")
    monkeypatch.delenv("SETPOINT_ARTIFACT_URL")
    assert config.settings("home").aws == Aws()
