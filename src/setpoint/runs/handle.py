"""What a training function that asks for `run` is given."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, SupportsFloat

from setpoint.artifacts.contract import ObjectStore
from setpoint.core.operations import Backend
from setpoint.errors import Invalid
from setpoint.runs import service
from setpoint.runs.commands import Log
from setpoint.runs.entities import Artifact, Point, Value

_BUFFER = 1_000  #: points kept before they are written


class Handle:
    """Records params, metrics, tags and artifacts of one run.

    Metrics are buffered: `flush` writes them, as does leaving the ``with`` block. A crash
    loses at most the last 1,000 points.
    """

    def __init__(self, backend: Backend, store: ObjectStore, run_id: str) -> None:
        self.id = run_id
        self._backend = backend
        self._store = store
        self._points: list[Point] = []
        self._steps: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def params(self, **params: Value) -> None:
        """Record what the run was started with; a value cannot change later."""
        self._backend.call(service.log, Log(run=self.id, params=params))

    def tags(self, **tags: str) -> None:
        """Record words about the run."""
        self._backend.call(service.log, Log(run=self.id, tags=tags))

    def metric(self, name: str, value: SupportsFloat, step: int | None = None) -> None:
        """Record one value; without a step it is the one after the last of this name."""
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise Invalid(f"metric {name!r} is {value!r}, which is no number") from None
        at = self._steps.get(name, -1) + 1 if step is None else int(step)
        self._steps[name] = at
        self._points.append(Point(name=name, value=number, step=at))
        if len(self._points) >= _BUFFER:
            self.flush()

    def log(
        self,
        values: Mapping[str, SupportsFloat] | None = None,
        *,
        step: int | None = None,
        **named: SupportsFloat,
    ) -> None:
        """Record several values of one step, as a run of `setpoint.run` does."""
        for name, value in {**(values or {}), **named}.items():
            self.metric(name, value, step)

    def artifact(self, name: str, content: bytes | str | Path) -> str:
        """Store bytes, text or a file under a name; return its address."""
        data: Any = content.read_bytes() if isinstance(content, Path) else content
        data = data.encode() if isinstance(data, str) else data
        address = self._store.put(data)
        left = {name: Artifact(address=address, size=len(data))}
        self._backend.call(service.log, Log(run=self.id, artifacts=left))
        return address

    def flush(self) -> None:
        """Write the points that are still in memory."""
        if self._points:
            points, self._points = self._points, []
            self._backend.call(service.log, Log(run=self.id, points=points))
