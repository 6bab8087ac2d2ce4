"""``setpoint.run``: tracking from a script or a notebook."""

import html
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import SupportsFloat

from setpoint.artifacts.store import FileStore, open_store
from setpoint.config import settings
from setpoint.db.local import LocalBackend, open_local
from setpoint.runs import code, environment, service
from setpoint.runs.entities import Run, Value
from setpoint.runs.handle import Handle


class Tracked(Handle):
    """A run that is being recorded; shows itself in a notebook."""

    def __init__(self, backend: LocalBackend, store: FileStore, run_id: str) -> None:
        super().__init__(backend, store, run_id)
        self._local = backend

    def log(self, *, step: int | None = None, **values: SupportsFloat) -> None:
        """Record metrics, all at one step; without one, each at the step after its last."""
        self.metrics(step, **values)

    def show(self) -> Run:
        """Return everything recorded so far."""
        self.flush()
        return self._local.call(service.show, service.ShowRun(run=self.id))

    def _repr_html_(self) -> str:
        run = self.show()
        values = [*run.params.items(), *run.metrics.items()]
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{html.escape(str(value))}</td></tr>"
            for name, value in values
        )
        head = html.escape(f"{run.experiment}: {run.id}, {run.status}")
        return f"<table><caption>{head}</caption>{rows}</table>"


@contextmanager
def run(
    name: str,
    *,
    params: Mapping[str, Value] | None = None,
    tags: Mapping[str, str] | None = None,
    home: Path | str | None = None,
) -> Iterator[Tracked]:
    """Record a run: its code and environment, and what the block logs.

    An exception in the block ends the run as failed, with its text, and goes on.

    Args:
        name: The experiment: what groups runs that answer one question.
        params: What the run is started with.
        tags: Words about it.
        home: Folder of the store; by default ``.setpoint`` or ``$SETPOINT_HOME``.

    Example:
        >>> with run("experiment", params={"leaves": 31}) as tracked:  # doctest: +SKIP
        ...     tracked.log(loss=0.5, step=1)
    """
    backend = open_local(settings(home))
    store = open_store(backend.settings)
    try:
        start = service.Start(
            experiment=name,
            params=dict(params or {}),
            tags=dict(tags or {}),
            code=code.capture(Path.cwd(), store),
            environment=environment.capture(store),
        )
        tracked = Tracked(backend, store, backend.call(service.start, start).id)
        try:
            yield tracked
        except BaseException as error:
            tracked.flush()
            said = f"{type(error).__name__}: {error}".rstrip(": ")
            backend.call(service.finish, service.Finish(run=tracked.id, error=said))
            raise
        tracked.flush()
        backend.call(service.finish, service.Finish(run=tracked.id))
    finally:
        backend.engine.dispose()
