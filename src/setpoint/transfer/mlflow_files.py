"""A folder ``mlruns``: a folder an experiment, in it one a run, in it a file a value."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from setpoint.errors import NotFound
from setpoint.runs.columns import Columns
from setpoint.runs.entities import Dataset
from setpoint.transfer.entities import Content, Left, SourceModel, SourceRun, SourceVersion
from setpoint.transfer.mlflow import DELETED, KIND, dataset_of, files_at, local, run_of, version_of


class MlflowFiles:
    kind = KIND

    def __init__(self, where: str, folder: Path) -> None:
        self.where = where
        self._folder = folder
        self._left: list[Left] = []
        self._places: dict[str, Path] = {}
        self._infos: dict[str, dict[str, Any]] = {}

    def runs(self) -> Sequence[SourceRun]:
        found = []
        for experiment, about in self._experiments():
            for meta in sorted(experiment.glob("*/meta.yaml")):
                info = self._meta(meta)
                if "run_id" not in info:
                    continue  # a dataset, a trace or a logged model
                run = run_of(
                    info,
                    str(about.get("name", experiment.name)),
                    params=_texts(meta.parent / "params"),
                    tags=_texts(meta.parent / "tags"),
                    datasets=self._datasets(meta.parent, experiment),
                )
                self._places[run.id], self._infos[run.id] = meta.parent, info
                found.append(run)
        if not found and not self._left and not self.models():
            raise NotFound(f"no runs in {self.where}", hint="it holds a folder for each experiment")
        return found

    def experiments(self) -> dict[str, dict[str, str]]:
        found = {str(about.get("name")): _texts(at / "tags") for at, about in self._experiments()}
        return {name: tags for name, tags in found.items() if tags}

    def models(self) -> Sequence[SourceModel]:
        found = []
        for meta in sorted(self._folder.glob("models/*/meta.yaml")):
            about, aliases = self._meta(meta), _texts(meta.parent / "aliases")
            versions = [self._version(each) for each in meta.parent.glob("version-*/meta.yaml")]
            found.append(
                SourceModel(
                    name=str(about.get("name", meta.parent.name)),
                    description=about.get("description") or "",
                    tags=_texts(meta.parent / "tags"),
                    aliases={alias: int(number) for alias, number in aliases.items()},
                    versions=sorted(
                        (each for each in versions if each), key=lambda version: version.number
                    ),
                )
            )
        return found

    def _version(self, meta: Path) -> SourceVersion | None:
        about = self._meta(meta)
        if about.get("current_stage") == DELETED or "version" not in about:
            return None
        at = str(about.get("storage_location") or about.get("source") or "")
        if at.startswith("models:/m-"):
            for own in self._folder.glob(f"*/models/{at.removeprefix('models:/')}/artifacts"):
                at = str(own)
        run = self._places.get(str(about.get("run_id")))
        return version_of(
            about,
            tags=_texts(meta.parent / "tags"),
            at=str(local(at) or at),
            run_at="" if run is None else str(run / "artifacts"),
            files=partial(files_at, at, f"{about.get('name')}/{about['version']}"),
        )

    def close(self) -> None:
        """Nothing stays open."""

    def left(self) -> list[Left]:
        return self._left

    def content(self, run: SourceRun) -> Content:
        place, left = self._places[run.id], list[Left]()
        inside = place / "artifacts"
        uri = str(inside) if inside.is_dir() else str(self._infos[run.id].get("artifact_uri", ""))
        return Content(
            series=_series(place / "metrics", run.id, left),
            files=files_at(uri, run.id, left),
            left=left,
        )

    def _experiments(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        for folder in (self._folder, self._folder / ".trash"):
            for meta in sorted(folder.glob("*/meta.yaml")):
                about = self._meta(meta)
                if "experiment_id" in about:
                    yield meta.parent, about

    def _datasets(self, run: Path, experiment: Path) -> list[Dataset]:
        found = []
        for meta in sorted(run.glob("inputs/*/meta.yaml")):
            used = self._meta(meta)
            about = self._meta(experiment / "datasets" / str(used.get("source_id")) / "meta.yaml")
            tags = {str(k): str(v) for k, v in (used.get("tags") or {}).items()}
            found.append(dataset_of(about, tags))
        return found

    def _meta(self, file: Path) -> dict[str, Any]:
        try:
            found = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            self._leave(file, f"it cannot be read: {str(error).splitlines()[0]}")
            return {}
        return found if isinstance(found, dict) else {}

    def _leave(self, file: Path, why: str) -> None:
        self._left.append(Left(run="", what=str(file), why=why))


def _texts(folder: Path) -> dict[str, Any]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {f.relative_to(folder).as_posix(): f.read_text(encoding="utf-8") for f in files}


def _series(folder: Path, run: str, left: list[Left]) -> Iterator[tuple[str, Columns]]:
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        name = file.relative_to(folder).as_posix()
        points = []
        for number, line in enumerate(file.read_text().splitlines(), 1):
            try:
                at, value, *step = line.split()[:3]
                points.append((int(step[0]) if step else 0, int(at) * 1000, float(value)))
            except ValueError:
                left.append(Left(run=run, what=f"{name}, line {number}", why="it is no point"))
        steps, at_us, values = zip(*points, strict=True) if points else ((), (), ())
        yield (
            name,
            Columns(
                np.array(steps, np.int64), np.array(at_us, np.int64), np.array(values, np.float64)
            ),
        )
