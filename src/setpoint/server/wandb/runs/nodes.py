"""Runs as the client sees them: those it made, and those any other client of ours made."""

import json
import math
import re
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from msgspec import Struct

from setpoint.runs import service
from setpoint.runs.columns import Columns, arrays
from setpoint.runs.commands import History, ListArtifacts, ShowRun
from setpoint.runs.entities import Run, Status
from setpoint.server.wandb.asked import Parsed
from setpoint.server.wandb.files import RunFile, run_url
from setpoint.server.wandb.paging import Connection, Edge, PageInfo, cut
from setpoint.server.wandb.runs import history
from setpoint.server.wandb.runs import store as store_runs
from setpoint.server.wandb.runs.history import RUNTIME, SYSTEM, Row, dumps
from setpoint.server.wandb.runs.store import Known
from setpoint.server.wandb.scope import Scope, project_of, to_id

#: The client says that it lives every half minute; after this long it does not.
_SILENCE = timedelta(minutes=5)

_STATES = {
    Status.SCHEDULED: "pending",
    Status.RUNNING: "running",
    Status.FINISHED: "finished",
    Status.FAILED: "failed",
    Status.KILLED: "killed",
}

GROUP, JOB_TYPE, NOTES, SWEEP = "group", "job_type", "notes", "sweep"  #: tags of ours
_PAGE = 1_000  #: rows of history, where the client names no number


class LogLine(Struct, frozen=True):
    """A line that the run wrote."""

    number: int
    line: str
    timestamp: str | None = None
    level: str | None = None
    label: str | None = None


class ParquetHistory(Struct, frozen=True):
    """No history lies in files: all of it is to be had as rows."""

    parquet_urls: tuple[str, ...] = ()
    live_data: tuple[Row, ...] = ()


class RunNode:
    """One run."""

    typename = "Run"
    read_only = False
    description = None

    def __init__(self, scope: Scope, run: Run, known: Known | None) -> None:
        self.scope = scope
        self.run = run
        self.known = known
        self.id = run.id
        self.name = known.name if known else run.id
        self.display_name = run.name or self.name
        self.created_at = run.started_at
        self.group = run.tags.get(GROUP)
        self.job_type = run.tags.get(JOB_TYPE)
        self.notes = run.tags.get(NOTES)
        self.sweep_name = known.sweep if known else None
        self.commit = run.code.commit if run.code else None
        self.project_id = str(run.experiment_id)

    @property
    def tags(self) -> list[str]:
        """The client's tags are those of ours that have no value."""
        return sorted(name for name, value in self.run.tags.items() if value == "")

    @property
    def heartbeat_at(self) -> datetime:
        if self.known:
            return self.known.heartbeat_at
        return self.run.ended_at or self.run.started_at

    updated_at = heartbeat_at

    @property
    def state(self) -> str:
        if self.known and self.known.state and not self.run.status.ended:
            return self.known.state
        silent = self.scope.ctx.now - self.heartbeat_at > _SILENCE
        if self.known and self.run.status is Status.RUNNING and silent:
            return "crashed"
        return _STATES[self.run.status]

    @property
    def running(self) -> bool:
        return self.state == "running"

    @property
    def failed(self) -> bool:
        return self.state in {"failed", "crashed"}

    @property
    def stopped(self) -> bool:
        return self.known is not None and self.known.stop

    should_stop = stopped

    @property
    def exitcode(self) -> int | None:
        return self.known.exit_code if self.known else None

    @property
    def host(self) -> str | None:
        return self.known.fields.get("host") if self.known else None

    # What it was given and what came out

    @property
    def config(self) -> str:
        if self.known:
            return self.known.config
        return dumps({name: {"value": value} for name, value in self.run.params.items()})

    def wandb_config(self, keys: list[str] | None = None) -> str:
        # A run without telemetry is one that never began, to the client that resumes it.
        kept = {"t": {}} | json.loads(self.config).get("_wandb", {}).get("value", {})
        return dumps(kept if keys is None else {k: v for k, v in kept.items() if k in keys})

    @property
    def summary_metrics(self) -> str:
        if self.known and self.known.summary != "{}":
            return self.known.summary
        return dumps({k: v for k, v in self.run.metrics.items() if not k.startswith(SYSTEM)})

    @property
    def system_metrics(self) -> str:
        found = {k: v for k, v in self.run.metrics.items() if k.startswith(SYSTEM) and k != RUNTIME}
        return dumps({"system." + k.removeprefix(SYSTEM): v for k, v in found.items()})

    # History

    @property
    def history_line_count(self) -> int:
        if self.known:
            return self.known.history_lines
        return self.last_step + 1

    @property
    def events_line_count(self) -> int:
        return self.known.event_lines if self.known else 0

    @property
    def log_line_count(self) -> int:
        return self.known.log_lines if self.known else 0

    @cached_property
    def _shown(self) -> Run:
        """The run with its metrics in full."""
        if self.run.latest or not self.run.metrics:
            return self.run
        return service.show(self.scope.ctx, ShowRun(run=self.run.id))

    @cached_property
    def _names(self) -> dict[str, str]:
        """Metrics that rows of the history have: the client's name for each, and ours.

        What only a summary has is in no row.
        """
        own = set(self.known.fields.get("summary_only", ())) if self.known else set()
        found = {n: n for n in self._shown.latest if not n.startswith(SYSTEM) and n not in own}
        return found | ({"_runtime": RUNTIME} if RUNTIME in self._shown.latest else {})

    @property
    def last_step(self) -> int:
        """The last step of the history; -1 where there is none."""
        latest = self._shown.latest
        stored = self.known.fields.get("last_step", -1) if self.known else -1
        return max([stored, *(latest[name].step for name in self._names.values())])

    @property
    def history_keys(self) -> dict[str, Any] | None:
        latest = self._shown.latest
        keys: dict[str, Any] = {
            name: _key("number", latest[ours].count, latest[ours].value)
            for name, ours in self._names.items()
        }
        others = self.known.fields.get("keys", {}) if self.known else {}
        keys |= {name: _key(kind, count, None) for name, (kind, count) in others.items()}
        if not keys:
            return None
        return {"sets": [], "keys": keys, "lastStep": self.last_step}

    def history(
        self,
        min_step: int | None = None,
        max_step: int | None = None,
        samples: int | None = None,
    ) -> list[str]:
        """Return a page of rows by step, `max_step` excluded, or so many of all, evenly."""
        paged = min_step is not None or max_step is not None
        last = None if max_step is None else max_step - 1
        found = self.rows(self._names, min_step, last)
        kept = found[: samples or _PAGE] if paged else _evenly(found, samples or _PAGE)
        return [dumps(row) for row in kept]

    def events(self, samples: int | None = None) -> list[str]:
        """Return rows about the machine, evenly thinned."""
        names = {n: n for n in self._shown.latest if n.startswith(SYSTEM) and n != RUNTIME}
        found = history.event_rows(self._curves(names, None, None), self.created_at.timestamp())
        return [dumps(row) for row in _evenly(found, samples or _PAGE)]

    def sampled_history(self, specs: list[Parsed]) -> list[list[Row]]:
        """Return for each spec the rows that have all its keys, thinned to its samples."""
        return [self._sampled(spec.value) for spec in specs]

    def _sampled(self, spec: Any) -> list[Row]:
        keys = spec.get("keys") if isinstance(spec, dict) else None
        if not isinstance(keys, list):
            return []
        found = []
        names = {name: ours for name, ours in self._names.items() if name in keys}
        for row in self.rows(names, spec.get("minStep"), spec.get("maxStep")):
            flat = row | history.flat(row)
            if all(key in flat for key in keys):
                found.append({key: flat[key] for key in keys})
        return _evenly(found, int(spec.get("samples") or _PAGE))

    def parquet_history(self, **_: Any) -> ParquetHistory:
        return ParquetHistory()

    @property
    def history_tail(self) -> str:
        """The last row, as JSON in JSON: from it the client goes on when it resumes."""
        last = self.last_step
        found = self.rows(self._names, last, last) if last >= 0 else []
        return dumps([dumps(row) for row in found])

    @property
    def events_tail(self) -> str:
        return dumps(self.events(1)[-1:])

    def rows(self, names: dict[str, str], first: int | None, last: int | None) -> list[Row]:
        """Return rows of steps from `first` to `last`."""
        rest = store_runs.rest(self.scope.conn, self.run.id, first, last)
        return history.rows(self._curves(names, first, last), rest)

    def _curves(
        self, names: dict[str, str], first: int | None, last: int | None
    ) -> dict[str, Columns]:
        ctx, run = self.scope.ctx, self.run.id
        found = {}
        for name, ours in names.items():
            cmd = History(run=run, metric=ours, first_step=first, last_step=last)
            found[name] = arrays(service.history(ctx, cmd))
        return found

    # Lines and files

    def log_lines(
        self,
        first: int | None = None,
        after: str | None = None,
        last: int | None = None,
        use_improved_pagination: bool | None = None,  # noqa: FBT001, ARG002 - the client's
    ) -> Connection:
        start = int(after) if after else -1
        limit = min(first or _PAGE, 10 * _PAGE)
        found = store_runs.lines(
            self.scope.conn,
            self.run.id,
            after=start,
            first=None if last else limit + 1,
            last=min(last or 0, 10 * _PAGE),
        )
        more = not last and len(found) > limit
        edges = [Edge(_line(number, text)) for number, text in (found[:limit] if more else found)]
        end = str(edges[-1].node.number) if edges else None
        return Connection(edges, PageInfo(end, more))

    def files(
        self,
        names: list[str] | None = None,
        after: str | None = None,
        first: int | None = None,
        pattern: str | None = None,
    ) -> Connection:
        """Return files by path; a pattern is one of SQL's LIKE."""
        found = self._files
        if names:
            wanted = {str(PurePosixPath(name)) for name in names}  # without ./ at its beginning
            found = [file for file in found if file.name in wanted]
        if pattern:
            found = [file for file in found if _like(file.name, pattern)]
        return cut(found, after, first)

    @cached_property
    def _files(self) -> list[RunFile]:
        kept = service.artifacts(self.scope.ctx, ListArtifacts(run=self.run.id)).artifacts
        addresses = {artifact.address for artifact in kept.values()}
        digests = store_runs.digests(self.scope.conn, addresses)
        entity, project = project_of(self.run.experiment)
        return [
            RunFile(
                id=to_id("File", f"{self.run.id}/{path}"),
                name=path,
                size_bytes=artifact.size,
                direct_url=run_url(self.scope.base, entity, project, self.name, path),
                md5=digests.get(artifact.address),
                updated_at=self.heartbeat_at,
            )
            for path, artifact in sorted(kept.items())
        ]

    @property
    def file_count(self) -> int:
        return len(self._files)


def _key(kind: str, count: int, value: float | None) -> dict[str, Any]:
    shown = None if value is None or not math.isfinite(value) else value
    counts = [{"type": kind, "count": count}]
    return {"typeCounts": counts, "monotonic": False, "previousValue": shown}


def _evenly(found: list[Row], at_most: int) -> list[Row]:
    """Return at most so many rows, evenly; the first and the last are among them."""
    if len(found) <= at_most:
        return found
    if at_most < 2:
        return found[-1:]
    stride = (len(found) - 1) / (at_most - 1)
    return [found[round(index * stride)] for index in range(at_most)]


def _line(number: int, text: str) -> LogLine:
    """Read a line as newer clients send it, in JSON, or as older ones, after its time."""
    if text.startswith("{"):
        try:
            told = json.loads(text)
        except ValueError:
            told = None
        if isinstance(told, dict) and "content" in told:
            stamp, level = told.get("ts"), told.get("level")
            return LogLine(number, str(told["content"]), stamp, level, told.get("label"))
    level = "error" if text.startswith("ERROR ") else None
    stamp, _, line = text.removeprefix("ERROR ").partition(" ")
    if len(stamp) >= 19 and stamp[10] == "T":
        return LogLine(number, line, stamp, level)
    return LogLine(number, text)


def _like(name: str, pattern: str) -> bool:
    parts = (".*" if c == "%" else "." if c == "_" else re.escape(c) for c in pattern)
    return re.fullmatch("".join(parts), name, re.DOTALL) is not None
