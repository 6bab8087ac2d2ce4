"""Aim's repositories, through Aim's own package in an interpreter that has it."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from setpoint.core.clock import from_micros
from setpoint.errors import Invalid, MissingExtra, NotFound
from setpoint.runs.columns import Columns
from setpoint.runs.entities import Status
from setpoint.transfer import aim_dump
from setpoint.transfer.entities import Content, Left, SourceRun
from setpoint.transfer.files import under
from setpoint.transfer.values import params

_MICROS = 1_000_000
_SYSTEM = "__system__"


class Aim:
    """A folder with ``.aim`` in it. A copy is read: it has to be opened for writing."""

    kind = "aim"

    def __init__(self, where: str, python: str) -> None:
        self.where = where
        path = Path(where)
        store = path if path.name == ".aim" else path / ".aim"
        if not store.is_dir():
            raise NotFound(f"no Aim repository in {where}", hint="it is the folder with .aim in it")
        self._folder = tempfile.TemporaryDirectory(prefix="setpoint-aim-")
        top = Path(self._folder.name)
        shutil.copytree(store, top / "copy" / ".aim")
        _dump(python, top / "copy", top / "out")
        self._places = {
            json.loads(file.read_text())["id"]: file.parent
            for file in sorted(top.glob("out/*/run.json"))
        }

    def runs(self) -> Sequence[SourceRun]:
        return [_run(self._about(name)) for name in self._places]

    def experiments(self) -> dict[str, dict[str, str]]:
        return {}

    def close(self) -> None:
        self._folder.cleanup()

    def left(self) -> list[Left]:
        return []

    def content(self, run: SourceRun) -> Content:
        place = self._places[run.id]
        why = "an importer for its kind is not written"
        left = [Left(run=run.id, what=what, why=why) for what in self._about(run.id)["left"]]
        return Content(
            series=_series(place / "series.jsonl"), files=under(place / "files"), left=left
        )

    def _about(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self._places[name] / "run.json").read_text())
        return found


def _dump(python: str, repository: Path, out: Path) -> None:
    out.mkdir()
    code = Path(aim_dump.__file__).read_text()  # as text: beside it lies another `aim`
    command = [python, "-c", code, str(repository), str(out)]
    try:
        done = subprocess.run(command, cwd=out, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError as error:
        raise NotFound(f"no interpreter at {python}", where=str(error)) from None
    if "No module named 'aim'" in done.stderr:
        raise MissingExtra(
            "Aim's files are read by its own package only",
            hint="pip install aim somewhere, and name its interpreter: --python PATH",
        )
    if done.returncode:
        last = next(iter(reversed(done.stderr.strip().splitlines())), "")
        raise Invalid(f"Aim's package cannot read {repository.name}", where=last[:300])


def _run(about: dict[str, Any]) -> SourceRun:
    tags = dict.fromkeys(about["tags"], "")
    if about["description"]:
        tags["notes"] = about["description"]
    return SourceRun(
        id=about["id"],
        experiment=about["experiment"] or "default",
        name=about["name"] or "",
        # a repository does not say how a run ended, and often not that it did
        status=Status.FINISHED,
        started_at=from_micros(int((about["created"] or 0) * _MICROS)),
        ended_at=from_micros(int(about["ended"] * _MICROS)) if about["ended"] else None,
        deleted=about["archived"],
        params=params(about["params"]),
        tags=tags,
    )


def _series(file: Path) -> Iterator[tuple[str, Columns]]:
    with file.open() as lines:
        for line in lines:
            found = json.loads(line)
            name = found["name"]
            if name.startswith(_SYSTEM):
                name = f"system/{name.removeprefix(_SYSTEM)}"
            yield (
                name,
                Columns(
                    np.array(found["steps"], np.int64),
                    (np.array(found["times"], np.float64) * _MICROS).astype(np.int64),
                    np.array([float(value) for value in found["values"]], np.float64),
                ),
            )
