"""Bring what a foreign store holds into ours: resumable, and the same however often it is done.

Every run keeps the id it had wherever ours allows that. A tag says where it came from, another
that it is whole: a run that has both is not read again. One that was cut off goes on, because
points are numbered by where they stand in their source and files are kept by their content.
"""

import re
from collections.abc import Iterator, Sequence

from blake3 import blake3

from setpoint.artifacts.contract import ObjectStore
from setpoint.core.operations import Backend
from setpoint.errors import NotFound
from setpoint.runs import columns, service
from setpoint.runs.commands import (
    Append,
    CreateExperiment,
    FindExperiment,
    Log,
    OneRun,
    ShowRun,
    Start,
    UpdateExperiment,
    UpdateRun,
)
from setpoint.runs.entities import Artifact, Lifecycle, Run, Series
from setpoint.transfer.entities import (
    Left,
    Registry,
    Report,
    Source,
    SourceFile,
    SourceRun,
    Told,
    untold,
)
from setpoint.transfer.files import stored
from setpoint.transfer.registered import Bringing

FROM = "setpoint.import.from"  #: kind and id in the source
WHOLE = "setpoint.import.whole"  #: points and files that came with it

_POINTS = 50_000  #: in one call
_FILES = 200  #: registered in one call
_LEGAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,255}")


def bring(
    backend: Backend,
    store: ObjectStore,
    source: Source,
    *,
    experiment: str | None = None,
    told: Told = untold,
) -> Report:
    """Import every run of `source`, and its registered models if it has any.

    Args:
        backend: Takes the runs.
        store: Takes their files.
        source: A store of another system.
        experiment: Puts all runs there instead of where they were.
        told: Called before each run, then before each version of a model.
    """
    try:
        found = _parents_first(source.runs())
        if experiment is None:
            _tag_experiments(backend, source.experiments())
        counts = _Counts()
        ids: dict[str, str] = {}
        for done, run in enumerate(found):
            told(done, len(found), run.name or run.id)
            ids[run.id] = _Bringing(backend, store, source, run, counts).whole(experiment, ids)
        registered = Bringing(backend, store, source.kind, ids)
        models = source.models() if isinstance(source, Registry) else ()
        registered.bring(models, told)
        left = [*source.left(), *counts.left, *registered.left]
    finally:
        source.close()
    return Report(
        kind=source.kind,
        where=source.where,
        runs=len(found),
        brought=counts.brought,
        known=counts.known,
        points=counts.points,
        files=counts.files + registered.files,
        bytes=counts.bytes + registered.bytes,
        models=len(models),
        versions=registered.versions,
        versions_known=registered.known,
        left=left,
    )


class _Counts:
    def __init__(self) -> None:
        self.brought = self.known = self.points = self.files = self.bytes = 0
        self.left: list[Left] = []


class _Bringing:
    """One run on its way."""

    def __init__(
        self, backend: Backend, store: ObjectStore, source: Source, run: SourceRun, counts: _Counts
    ) -> None:
        self._backend = backend
        self._store = store
        self._source = source
        self._run = run
        self._counts = counts
        self._origin = f"{source.kind}:{run.id}"

    def whole(self, experiment: str | None, ids: dict[str, str]) -> str:
        """Bring all of the run; return its id here."""
        known = self._known()
        if known is not None and WHOLE in known.tags:
            self._delete(known)
            self._counts.known += 1
            return known.id
        to = known or self._start(experiment, ids)
        content = self._source.content(self._run)
        points = self._points(to.id, content.series)
        files = self._files(to.id, content.files)
        self._counts.left += content.left
        self._end(to, f"{points} points, {files} files")
        self._counts.brought += 1
        return to.id

    def _known(self) -> Run | None:
        """Return the run if it was begun before, under either of its ids."""
        for run_id in (self._run.id, self._other_id()):
            found = self._find(run_id)
            if found is not None and found.tags.get(FROM) == self._origin:
                return found
        return None

    def _start(self, experiment: str | None, ids: dict[str, str]) -> Run:
        run = self._run
        free = _LEGAL.fullmatch(run.id) and self._find(run.id) is None
        start = Start(
            experiment=experiment or run.experiment or self._source.kind,
            id=run.id if free else self._other_id(),
            name=run.name,
            parent=ids.get(run.parent) if run.parent else None,
            started_at=run.started_at,
            params=run.params,
            tags={**run.tags, FROM: self._origin},
            actor=run.actor or None,
        )
        begun = self._backend.call(service.start, start)
        if run.datasets:
            self._backend.call(service.log, Log(run=begun.id, datasets=run.datasets, late=True))
        return begun

    def _points(self, run: str, series: Iterator[tuple[str, columns.Columns]]) -> int:
        total = waiting = position = 0
        batch: list[Series] = []
        for name, found in series:
            batch.append(columns.series(name, found))
            waiting += found.size
            if waiting >= _POINTS:
                position += 1
                self._append(run, batch, position)
                total, waiting, batch = total + waiting, 0, []
        if batch:
            self._append(run, batch, position + 1)
        self._counts.points += total + waiting
        return total + waiting

    def _append(self, run: str, batch: list[Series], position: int) -> None:
        command = Append(run=run, series=batch, source=f"import:{self._origin}", position=position)
        self._backend.call(service.append, command)

    def _files(self, run: str, files: Iterator[SourceFile]) -> int:
        count = 0
        batch: dict[str, Artifact] = {}
        for file in files:
            kept = self._keep(file)
            if kept is not None:
                batch[file.path] = kept
                count += 1
                self._counts.bytes += kept.size
            if len(batch) >= _FILES:
                self._backend.call(service.log, Log(run=run, artifacts=batch, late=True))
                batch = {}
        if batch:
            self._backend.call(service.log, Log(run=run, artifacts=batch, late=True))
        self._counts.files += count
        return count

    def _keep(self, file: SourceFile) -> Artifact | None:
        try:
            return stored(self._store, file)
        except FileNotFoundError:
            self._leave(file.path, "the file is not there any more")
        except (NotFound, OSError) as error:
            self._leave(file.path, str(error))
        return None

    def _leave(self, what: str, why: str) -> None:
        self._counts.left.append(Left(run=self._run.id, what=what, why=why))

    def _end(self, to: Run, content: str) -> None:
        """Give the run its end, then say that it is whole: in this order, for a crash between."""
        run = self._run
        update = UpdateRun(run=to.id, status=run.status, ended_at=run.ended_at, error=run.error)
        self._backend.call(service.update, update)
        self._backend.call(service.log, Log(run=to.id, tags={WHOLE: content}, late=True))
        self._delete(to)

    def _delete(self, to: Run) -> None:
        """Delete what is deleted in the source, also where a crash came before that."""
        if self._run.deleted and to.lifecycle is not Lifecycle.DELETED:
            self._backend.call(service.delete, OneRun(run=to.id))

    def _other_id(self) -> str:
        """Return the id for a run whose own is taken here or is no id here."""
        digest = blake3(self._origin.encode())
        return f"{self._source.kind}-{digest.hexdigest()[:24]}"

    def _find(self, run_id: str) -> Run | None:
        try:
            return self._backend.call(service.show, ShowRun(run=run_id))
        except NotFound:
            return None


def _tag_experiments(backend: Backend, tagged: dict[str, dict[str, str]]) -> None:
    for name, tags in tagged.items():
        try:
            found = backend.call(service.find_experiment, FindExperiment(name=name))
        except NotFound:
            backend.call(service.create_experiment, CreateExperiment(name=name, tags=tags))
        else:
            new = {key: value for key, value in tags.items() if key not in found.tags}
            backend.call(service.update_experiment, UpdateExperiment(id=found.id, tags=new))


def _parents_first(runs: Sequence[SourceRun]) -> list[SourceRun]:
    """Return the runs so that each comes after its parent; a circle of parents is cut."""
    by_id = {run.id: run for run in runs}
    placed: dict[str, SourceRun] = {}
    for run in runs:
        line: dict[str, SourceRun] = {}
        each: SourceRun | None = run
        while each is not None and each.id not in placed and each.id not in line:
            line[each.id] = each
            each = by_id.get(each.parent) if each.parent else None
        placed.update(reversed(line.items()))
    return list(placed.values())
