"""Write runs out: for MLflow, or as Parquet files that anything reads."""

from collections.abc import Iterator
from typing import Protocol

from setpoint.artifacts.contract import ObjectStore
from setpoint.core.operations import Backend
from setpoint.runs import service
from setpoint.runs.commands import History, ListArtifacts, SearchRuns, ShowRun
from setpoint.runs.entities import Artifact, Run, Series
from setpoint.transfer.entities import Left, Sent, Told, untold

_PAGE = 200


class Held:
    """One run of ours on its way out."""

    def __init__(self, backend: Backend, store: ObjectStore, run: Run) -> None:
        self.run = run
        self._backend = backend
        self._store = store

    def series(self) -> Iterator[Series]:
        """Yield every metric's whole history."""
        for name in sorted(self.run.metrics):
            yield self._backend.call(service.history, History(run=self.run.id, metric=name))

    def files(self) -> dict[str, Artifact]:
        """Return what the run left, by path."""
        return self._backend.call(service.artifacts, ListArtifacts(run=self.run.id)).artifacts

    def chunks(self, file: Artifact) -> Iterator[bytes]:
        return self._store.chunks(file.address)


class Target(Protocol):
    """Where runs go."""

    where: str

    def has(self, run: Run) -> bool:
        """Tell whether the run is there, whole."""

    def put(self, held: Held) -> tuple[int, int, int, list[Left]]:
        """Write a run; return points, files, their bytes, and what could not be written."""

    def close(self) -> None:
        """Finish what is not written yet."""


def send(
    backend: Backend,
    store: ObjectStore,
    target: Target,
    *,
    experiments: list[str],
    filter: str,  # noqa: A002 - as searching calls it
    told: Told = untold,
) -> Sent:
    """Export the runs that a search finds.

    Args:
        backend: Has the runs.
        store: Has their files.
        target: Where they go. A run that is there, whole, is not written again.
        experiments: Their names; empty means all.
        filter: In the language of `runs search`.
        told: Called before each run.
    """
    runs = known = points = files = size = 0
    left: list[Left] = []
    for run in _found(backend, experiments, filter):
        told(runs + known, None, run.name or run.id)
        if target.has(run):
            known += 1
            continue
        whole = backend.call(service.show, ShowRun(run=run.id))
        more = target.put(Held(backend, store, whole))
        runs, points, files, size = runs + 1, points + more[0], files + more[1], size + more[2]
        left += more[3]
    target.close()
    return Sent(
        to=target.where, runs=runs, known=known, points=points, files=files, bytes=size, left=left
    )


def _found(backend: Backend, experiments: list[str], text: str) -> Iterator[Run]:
    token = ""
    while True:
        asked = SearchRuns(
            experiments=experiments,
            filter=text,
            order=["attributes.start_time ASC"],
            limit=_PAGE,
            token=token,
        )
        page = backend.call(service.search, asked)
        yield from page.runs
        token = page.next
        if not token:
            return
