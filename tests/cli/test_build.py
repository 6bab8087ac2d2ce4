"""``setpoint build``, as it is typed; what goes wrong is one clear error."""

import json
from pathlib import Path

import pytest
from tests.packaging import made
from tests.stores import Files

from setpoint.cli.main import run
from setpoint.config import Settings
from setpoint.core.clock import ManualClock
from setpoint.db.local import open_local


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, file_stores: Files) -> Path:
    """A store in which ``late`` has a live version and a candidate."""
    folder = tmp_path_factory.mktemp("house")
    settings = Settings(home=folder, database_url=file_stores.empty(folder), actor="ada")
    backend = open_local(settings, ManualClock(made.NOON))
    made.registered(backend, "late", made.tree())
    made.registered(backend, "late", made.line(), run_id="run 2")
    backend.engine.dispose()
    return folder


def built(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = run(["build", *words])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_a_version_is_built_on_a_base_of_one_s_own(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = f"oci:{made.base(tmp_path / 'base')}"
    words = ["late:1", "--home", str(home), "--base", base, "--to", str(tmp_path / "a.tar")]
    code, out, _ = built(capsys, *words, "--tag", "one", "--tag", "stable")
    assert code == 0
    assert "built late version 1" in out
    assert "tags one, stable" in out
    code, out, _ = built(
        capsys, "late", "--home", str(home), "--base", base, "--to", str(tmp_path / "b"), "--json"
    )
    said = json.loads(out)
    assert (said["version"], said["tags"]) == (2, ["2"])
    assert said["size"] > sum(said["layers"].values())


@pytest.mark.parametrize(
    ("words", "code", "error", "do"),
    [
        (["lat"], 3, "there is no model 'lat'", "did you mean 'late'?"),
        (["late:9"], 3, "there is no version 9 of 'late'", "its versions: 2, 1"),
        (["late@stable"], 3, "no version of 'late' is 'stable'", "its aliases: @live"),
        (["late:two"], 2, "'two' is no number of a version", "churn:3"),
        (["late", "--to", "reg.example/UP"], 2, "is no reference of an image", "lower case"),
        (["late", "--to", "oci:"], 2, "names no path", "oci:./churn"),
        (["late", "--tag", "a b"], 2, "'a b' is no tag", "letters"),
        (["late", "--base", "python:3.11"], 2, "names no registry", "begin with its host"),
        (["late", "--base", "oci:nowhere"], 3, "no OCI image layout in nowhere", "skopeo"),
        (["late", "--user", "ada"], 2, "a login is a user and a password", "both"),
        (["late", "--base", "127.0.0.1:9/a"], 6, "127.0.0.1:9 cannot be reached", "network"),
    ],
)
def test_what_cannot_be_built_is_one_clear_error(
    words: list[str],
    code: int,
    error: str,
    do: str,
    home: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found, out, err = built(capsys, *words, "--home", str(home))
    assert (found, out) == (code, "")
    assert error in err
    assert do in err.partition("do:")[2]
    assert "Traceback" not in err


def test_a_machine_without_debian_packages_is_told_to_name_a_base(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = built(capsys, "late", "--home", str(home), "--to", str(tmp_path / "x"))
    assert code == 2
    assert "no Debian packages" in err
    assert "--base oci:PATH" in err
