"""What the documentation says to type works as written, and its reference is up to date."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from tests.cli.running import ENVIRONMENT, setpoint, until, up
from tests.docs import reference
from tests.packaging import made
from tests.ports import free_port
from tests.serve.made import predicted

from setpoint.serve.entities import Position
from setpoint.serve.log import LogWriter
from setpoint.serve.seal import seal

DOCS = Path(__file__).parents[2] / "docs"
README = DOCS.parent / "README.md"
BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HOW_TO = sorted(path.name for path in (DOCS / "how-to").glob("*.md") if path.name != "README.md")


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    assert setpoint(folder, "init", "churn").returncode == 0
    out = setpoint(folder / "churn", "apply")
    assert out.returncode == 0, out.stderr
    return folder / "churn"


class Reader:
    """Somebody who types what a page says, in a folder."""

    def __init__(
        self, folder: Path, running: ExitStack, really: dict[str, str] | None = None
    ) -> None:
        """Begin to read; what a page says of a place is `really` another here."""
        self.folder = folder
        self._really = really or {}
        self._running = running
        self._inference = "8766"
        self._script = script = folder.parent / "bin" / "setpoint"
        script.parent.mkdir(parents=True)
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -m setpoint "$@"\n')
        script.chmod(0o755)
        self._path = f"{script.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"

    def read(self, page: Path) -> str:
        """Do what every block says; return what they printed."""
        said = ""
        for language, file, block in BLOCK.findall(page.read_text(encoding="utf-8")):
            text = block.replace("8766", self._inference)
            for said_, really in self._really.items():
                text = text.replace(said_, really)
            if file:
                (self.folder / file).write_text(text)
            elif language == "python":
                said += self._run([sys.executable, "-c", text])
            elif block.strip() == "setpoint up":
                platform = self._running.enter_context(up(self.folder))
                until(lambda served=platform: served.serves("churn"), "churn served")  # type: ignore[misc]
                self._inference = platform.url.rpartition(":")[2]
            elif language == "sh":
                said += self._shell(text)
        return said

    def _shell(self, text: str) -> str:
        url = f"http://127.0.0.1:{self._inference}"
        text = text.replace("setpoint predict", f"setpoint predict --url {url}")
        where = self._script.parent / "where"
        out = self._run(["bash", "-euo", "pipefail", "-c", f"{text}\npwd > '{where}'"])
        self.folder = Path(where.read_text().strip())
        return out

    def _run(self, words: list[str]) -> str:
        out = subprocess.run(
            words,
            cwd=self.folder,
            env={**ENVIRONMENT, "PATH": self._path},
            capture_output=True,
            text=True,
            check=False,
            timeout=150,
        )
        assert out.returncode == 0, f"{words[-1]}\n{out.stdout}{out.stderr}"
        return out.stdout


@pytest.fixture
def running() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_the_tutorial_ends_with_a_release_that_was_promoted(
    tmp_path: Path, running: ExitStack
) -> None:
    folder = tmp_path / "desk"
    folder.mkdir()
    said = Reader(folder, running).read(DOCS / "tutorials" / "first-release.md")
    assert "answered by versions [1, 2]" in said
    assert re.search(r"1 → 2 +promoted", said)
    assert "churn: on target, version 2 live" in said
    assert "events verify" in said


@pytest.mark.parametrize("page", HOW_TO)
def test_a_guide_works_as_written(
    page: str, applied: Path, tmp_path: Path, running: ExitStack, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "churn"
    shutil.copytree(applied, folder)
    really = {}
    if page == "s3.md":
        really = _shared(request)
    elif page == "package.md":
        made.needs("apt-get", "skopeo", "umoci", "bwrap", "docker-registry")
        host = running.enter_context(made.registry(tmp_path / "registry"))
        really = {"registry.example:5000": host, "18080": str(free_port())}
    Reader(folder, running, really).read(DOCS / "how-to" / page)


def test_the_guide_reads_a_log_whose_files_differ_in_their_columns(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path)
    day, values = 86_400_000_000, np.ones(1).tobytes()
    writer.append(predicted("a"))
    writer.append(predicted("b", at_us=day, columns=["c"], values=values, texts={}, sample=0.5))
    writer.append(predicted("c", at_us=2 * day, columns=[], values=b"", texts={"c": ["x"]}))
    writer.close()
    LogWriter(tmp_path).close()
    assert len(seal(tmp_path, Position(9, 0))) == 3
    page = (DOCS / "how-to" / "keep-and-trace-traffic.md").read_text(encoding="utf-8")
    (block,) = [text for language, _, text in BLOCK.findall(page) if language == "python"]
    said: dict[str, Any] = {}
    exec(block, said)  # noqa: S102 - what the page says
    folder = tmp_path / "parquet" / "model=m"
    assert said["answered"](folder) == 4
    assert said["rows"](folder).collect()["feature_c"].to_list() == [None, "1.0", "x"]


def _shared(request: pytest.FixtureRequest) -> dict[str, str]:
    """Return what really is a database and a bucket that machines share, by what a page says."""
    database, s3 = request.getfixturevalue("postgres"), request.getfixturevalue("s3")
    with psycopg.connect(database.get_uri(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE pages")
    return {
        "postgresql://setpoint@localhost/setpoint": f"'{database.get_uri(database='pages')}'",
        "s3://team": s3.make(),
        "http://127.0.0.1:8333": s3.endpoint,
        "AWS_SECRET_ACCESS_KEY=secret": f"AWS_SECRET_ACCESS_KEY='{s3.aws.secret_access_key}'",
    }


@pytest.mark.parametrize("name", sorted(reference.pages()))
def test_the_reference_is_up_to_date(name: str) -> None:
    found = (reference.FOLDER / name).read_text(encoding="utf-8")
    assert found == reference.pages()[name], "run: make docs"


def test_every_link_leads_somewhere() -> None:
    for page in [README, *DOCS.rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page}: {target}"


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 120
