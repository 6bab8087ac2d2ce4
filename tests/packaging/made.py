"""Versions, bases and registries to try packaging on: small, and the real thing."""

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier
from tests.ports import free_port

from setpoint.artifacts.store import open_store
from setpoint.db.local import LocalBackend
from setpoint.models import service
from setpoint.models.build import build
from setpoint.models.entities import Gate, ModelVersion
from setpoint.models.service import Register, SetAlias
from setpoint.packaging.bases import architecture
from setpoint.packaging.debian import PYTHON
from setpoint.packaging.entities import CONFIG, MANIFEST, Blob, Image
from setpoint.packaging.layouts import write_folder
from setpoint.packaging.registry import descriptor_of
from setpoint.packaging.trees import Tree, layer

RNG = np.random.default_rng(3)
ROWS = pl.DataFrame({name: RNG.normal(size=300) for name in ("distance", "gusts")})
LATE = (ROWS["distance"] * ROWS["gusts"] > 0).to_numpy().astype(int)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PASSED = Gate(checks=[], passed=True)


def tree() -> Any:
    return DecisionTreeClassifier(max_depth=4, random_state=0).fit(ROWS.to_numpy(), LATE)


def line() -> Any:
    return LogisticRegression().fit(ROWS.to_numpy(), LATE)


def registered(backend: LocalBackend, name: str, model: Any, **changes: Any) -> ModelVersion:
    """Register a model as a training would, and let it be live."""
    store = open_store(backend.settings)
    rng = np.random.default_rng(1)
    held = msgspec.structs.asdict(build(store, model, ROWS, rng=rng))
    values = {"run_id": f"run of {name}", "gate": PASSED, **held, **changes}
    version = backend.call(service.register, Register(model=name, why="first version", **values))
    alias = SetAlias(model=name, alias="live", number=version.number, reason="first")
    backend.call(service.alias, alias)
    return version


def image_of(files: dict[str, bytes], folder: Path, **config: Any) -> Image:
    """Return an image of one layer with these files, as somebody else would have made it."""
    inside = Tree()
    for path, data in files.items():
        inside.file(path, data)
    made = layer(inside, folder)
    said = {
        "architecture": architecture(),
        "os": "linux",
        "config": {"Env": ["PATH=/usr/bin", "COLOUR=blue"]},
        "rootfs": {"type": "layers", "diff_ids": [made.diff_id]},
        "history": [{"created_by": "somebody"}],
        **config,
    }
    data = msgspec.json.encode(said)
    inner = Blob(descriptor=descriptor_of(CONFIG, data), data=data)
    manifest = msgspec.json.encode(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": inner.descriptor,
            "layers": [made.descriptor],
        }
    )
    outer = Blob(descriptor=descriptor_of(MANIFEST, manifest), data=manifest)
    return Image(manifest=outer, config=inner, layers=[made], sbom=inner)


def base(folder: Path, *tags: str, python: str = PYTHON, **config: Any) -> Path:
    """Write a layout whose image has a file where the interpreter would be; return its folder."""
    image = image_of({f"usr/bin/{python}": b"#!not really"}, folder / "made", **config)
    write_folder(folder / "layout", image, tags or ("1",))
    return folder / "layout"


def needs(*programs: str) -> None:
    """Skip where a program is not installed or cannot work; `.ci/run` installs all of them."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    for program, (trial, why) in _TRIALS.items():
        if program in programs and not _works(trial):
            pytest.skip(why)


#: What a program that is there may still not be able to do on some machines.
_TRIALS = {
    "bwrap": (
        ("bwrap", "--ro-bind", "/", "/", "--unshare-user", "true"),
        "needs a system that lets bwrap make user namespaces",
    ),
    "apt-get": (
        ("apt-get", "download", "--print-uris", "-qq", f"{PYTHON}-minimal"),
        f"needs Debian packages of {PYTHON}, and apt-get update",
    ),
}


@cache
def _works(trial: tuple[str, ...]) -> bool:
    return not subprocess.run(trial, check=False, capture_output=True).returncode


@contextmanager
def registry(folder: Path, **settings: Any) -> Iterator[str]:
    """Run Debian's docker-registry; yield its host."""
    needs("docker-registry")
    host = f"127.0.0.1:{free_port()}"
    folder.mkdir(parents=True, exist_ok=True)
    said = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "blobs")}},
        "http": {"addr": host},
        **settings,
    }
    (folder / "config.yml").write_text(json.dumps(said))  # JSON is YAML
    words = ["docker-registry", "serve", str(folder / "config.yml")]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(words, stdout=log, stderr=log) as process,
    ):
        try:
            _until_it_answers(f"http://{host}/v2/", process)
            yield host
        finally:
            process.terminate()


def _until_it_answers(url: str, process: "subprocess.Popen[bytes]") -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + 20
    while time.monotonic() < until:
        assert process.poll() is None
        try:
            opener.open(url, timeout=5).close()
        except urllib.error.HTTPError as error:
            error.close()
            return
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(url)
