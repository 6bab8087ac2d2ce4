"""An artifact store that is away or refuses: one clear error, and what was logged waits."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.s3_server import S3Server
from tests.server.conftest import serving
from tests.server.web import ask

import setpoint as sp
from setpoint.artifacts import s3 as client
from setpoint.artifacts.contract import address_of
from setpoint.artifacts.store import open_store
from setpoint.cli.main import run
from setpoint.config import AWS_VARIABLES, Settings, settings
from setpoint.db.local import LocalBackend, open_local
from setpoint.runs import service
from setpoint.runs.commands import ShowRun
from setpoint.sdk.capture import Capture
from setpoint.sdk.folders import RunFolder
from setpoint.sdk.sync import sync
from setpoint.server.app import create_app

NOWHERE = "http://127.0.0.1:9"
QUIET = Capture(code=False, environment=False, host=False, system=0.0)


@pytest.fixture(scope="module")
def bucket(s3: S3Server) -> str:
    return s3.make()


@pytest.fixture
def shared(s3: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings as they come from the environment, with artifacts in a bucket."""
    monkeypatch.setattr(client, "_PATIENCE", client._PATIENCE._replace(tries=0))
    monkeypatch.setenv("SETPOINT_ARTIFACT_URL", f"{bucket}/{tmp_path.name}")
    for name, value in s3.aws.given().items():
        monkeypatch.setenv(AWS_VARIABLES[name][0], value)
    return settings(tmp_path / "home")


@contextmanager
def served(found: Settings) -> Iterator[str]:
    backend: LocalBackend = open_local(found)
    with serving(create_app(backend)) as url:
        yield url
    backend.engine.dispose()


def test_a_server_says_that_its_store_is_away_and_goes_on(shared: Settings) -> None:
    address = address_of(b"weights")
    away = replace(shared, aws=replace(shared.aws, endpoint=NOWHERE))
    with served(away) as url:
        put = {"method": "PUT", "body": b"weights", "headers": {}}
        md5 = hashlib.md5(b"weights", usedforsecurity=False).hexdigest()
        calls: tuple[tuple[str, dict[str, Any]], ...] = (
            (f"/objects/{address}", put),
            (f"/objects/{address}", {}),
            ("/api/2.0/mlflow-artifacts/artifacts/a/b", put),
            (f"/artifactsV2/content/{md5}/x", put),
        )
        for path, asked in calls:
            answer = ask(url, path, **asked)
            assert answer.status == 503, (path, answer.text)
            assert "cannot be reached" in answer.text
        assert json.loads(ask(url, "/healthz").body)["status"] == "ok"
        assert ask(url, "/runs").status == 200


def test_a_training_without_a_server_keeps_its_files_until_the_store_is_back(
    shared: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", NOWHERE)
    with sp.run("churn", home=shared.home, capture=QUIET) as tracked:
        tracked.log(loss=0.5)
        tracked.artifact("weights.bin", b"weights")
    assert RunFolder.all(shared.home)
    assert [one.complete for one in sync(shared)] == [True]
    assert not RunFolder.all(shared.home)
    assert open_store(shared).get(address_of(b"weights")) == b"weights"
    home = open_local(shared)
    found = home.call(service.show, ShowRun(run=tracked.id))
    assert (found.status, set(found.artifacts)) == ("finished", {"weights.bin"})
    home.engine.dispose()


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("SETPOINT_ARTIFACT_URL", "s3://nobodys/x", "there is no bucket 'nobodys'"),
        ("SETPOINT_ARTIFACT_URL", "ftp://x/y", "is no place for artifacts"),
        ("AWS_SECRET_ACCESS_KEY", "wrong", "refuses these credentials"),
        ("AWS_ENDPOINT_URL_S3", NOWHERE, "cannot be reached"),
    ],
)
@pytest.mark.parametrize("command", ["server", "up"])
def test_it_does_not_start_with_a_store_that_cannot_be_used(
    command: str,
    variable: str,
    value: str,
    says: str,
    shared: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(variable, value)
    assert run([command, "--home", str(shared.home)]) in {2, 6}
    said = capsys.readouterr().err
    assert said.count("error:") == 1
    assert says in said
    assert "do:" in said
