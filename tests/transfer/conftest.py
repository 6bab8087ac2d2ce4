from typing import Any

import pytest

from setpoint.artifacts.store import open_store
from setpoint.db.local import LocalBackend
from setpoint.runs import service
from setpoint.runs.columns import arrays
from setpoint.runs.commands import History, ListArtifacts, SearchRuns
from setpoint.runs.entities import Run, View
from setpoint.transfer.entities import Report, Source
from setpoint.transfer.importer import bring


class Here:
    """A store of ours, and what an import put there."""

    def __init__(self, backend: LocalBackend) -> None:
        self.backend = backend
        self.store = open_store(backend.settings)

    def bring(self, source: Source, **options: Any) -> Report:
        return bring(self.backend, self.store, source, **options)

    def runs(self) -> dict[str, Run]:
        found = self.backend.call(service.search, SearchRuns(view=View.ALL, limit=1_000)).runs
        return {run.name: run for run in found}

    def points(self, run: Run, metric: str) -> list[tuple[int, int, float]]:
        found = arrays(self.backend.call(service.history, History(run=run.id, metric=metric)))
        return list(zip(*(column.tolist() for column in found), strict=True))

    def files(self, run: Run) -> dict[str, bytes]:
        found = self.backend.call(service.artifacts, ListArtifacts(run=run.id)).artifacts
        return {path: self.store.get(file.address) for path, file in found.items()}


@pytest.fixture
def here(backend: LocalBackend) -> Here:
    return Here(backend)
