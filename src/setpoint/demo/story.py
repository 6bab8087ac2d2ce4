"""The year, hour by hour: asked over HTTP, answered, labelled late, watched and released.

The replay drives three things in lockstep, so that the same seed gives the same decisions:
the clock that every process obeys, the requests and labels, and the controller's ticks.
Where it stands is in the store; one that was killed goes on there.
"""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

import setpoint.demo
from setpoint.artifacts.store import open_store
from setpoint.config import Settings
from setpoint.control import applying, sources, store
from setpoint.control.controller import Controller, Tick
from setpoint.control.entities import Job, JobState
from setpoint.control.observe import observe
from setpoint.control.project import Project, function, load
from setpoint.control.spec.entities import Spec
from setpoint.control.spec.parse import canonical
from setpoint.core.clock import FileClock, to_micros
from setpoint.core.ids import new_id
from setpoint.core.operations import Context
from setpoint.data import store as datasets
from setpoint.db.local import LocalBackend, open_local
from setpoint.demo.flights_data import END, HOUR, Hour, Replay
from setpoint.errors import SetpointError
from setpoint.events.store import record
from setpoint.models import service as models
from setpoint.models import store as registry
from setpoint.models.entities import Check
from setpoint.pipelines.local import StepRun
from setpoint.releases import store as releases
from setpoint.serve import store as serving
from setpoint.serve.client import Inference

MODEL = "flights-late"
START = datetime(2013, 3, 1, 5, tzinfo=UTC)  #: midnight in New York
UNTIL = datetime(2014, 1, 1, 5, tzinfo=UTC)
PART = timedelta(minutes=30)  #: flights that depart in it are asked about in one request
QUIET = timedelta(hours=3)  #: between ticks while no release is open
_PROGRESS = "replay"
_REASON = "demo: a version trained on shuffled labels, to see it rolled back"


class Progress(Struct, frozen=True, kw_only=True):
    """Where the replay stands after an hour."""

    at: datetime
    asked: int  #: predictions so far, since it was started or resumed
    labelled: int  #: labels delivered, likewise
    hour: int  #: requests in this hour
    tick: Tick | None


class Mark(Struct, kw_only=True):
    """What a killed replay needs to go on."""

    done: datetime  #: everything before was asked, labelled and reconciled
    begun: bool = False  #: whether the first version went live
    releasing: bool = False  #: whether a release was open then
    sabotage: str = ""  #: job of the bad version, once requested
    forced: bool = False  #: whether it was forced past the gate


class Story:
    """One replay in one folder.

    A subclass that sets `model`, `start`, `end` and `bad_code`, and overrides `make_project`
    and `load`, replays something else the same way.
    """

    model = MODEL
    start = START
    end = UNTIL
    bad_code = "flights:train_on_shuffled_labels"
    part = PART

    def __init__(
        self,
        settings: Settings,
        *,
        seed: int,
        until: datetime,
        told: Callable[[str, StepRun], None],
    ) -> None:
        """Open or make the store, with its own clock and its copy of the flights project."""
        settings.home.mkdir(parents=True, exist_ok=True)
        self.clock = FileClock(settings.home / "clock", start=self.start)
        self.home: LocalBackend = open_local(settings, self.clock)
        self.until = until
        self.project = self.make_project(settings.home / "project", seed)
        self.spec: Spec = self.project.spec(self.model)
        self.mark = self._read_mark()
        self._told = told
        self.stream: Replay | None = None
        self._controller: Controller | None = None
        self._inference: Inference | None = None
        self._resuming = True
        self._delivered = self.mark.done
        self._asked = self._labelled = 0

    def make_project(self, folder: Path, seed: int) -> Project:
        """Return the project, copied beside the store the first time."""
        return _project(folder, seed)

    def begin(self, inference: str) -> None:
        """Put the spec in force, train on January and February, and go live.

        Raises:
            SetpointError: If no version passes the gate.
        """
        self._inference = Inference(inference)
        self._controller = Controller(self.home, inference=inference, told=self._told)
        applying.apply(self.home, self.project)
        if not self.mark.begun:  # later, half an hour must not be judged as if it were one
            self._controller.tick()
        with self.home.engine.begin() as conn:
            seen = observe(self.home.context(conn), store.need(conn, self.model))
            if seen.live is None:
                said = seen.job.outcome if seen.job else "no training was requested"
                raise SetpointError(f"no version went live: {said}")
            self.mark.begun = True
            store.move_cursor(conn, _PROGRESS, self.mark)
        self._inference.sync(self.model, 1)

    def opening(self) -> list[str]:
        """Say what was ingested, what its contract set aside, and how the gate judged."""
        lines = []
        with self.home.engine.begin() as conn:
            for name in self.spec.data.source:
                version = datasets.get(conn, name)
                checked = datasets.validation(conn, name, version.number)
                aside = f", {version.set_aside:,} set aside" if version.set_aside else ""
                lines.append(f"{name} version {version.number}: {version.rows:,} rows{aside}")
                lines += [
                    f"  failed: {c.name}: {c.failing:,} rows"
                    for c in checked.checks
                    if not c.passed
                ]
            first = registry.get(conn, self.model, 1)
        for check in first.gate.checks if first.gate else []:
            lines.append(f"  gate: {_in_words(check)}")
        lines.append("version 1 is live")
        return lines

    def load(self) -> Replay:
        """Read the year and compute its features, each as known at its own time."""
        tables = {
            name: sources.table(self.project, self.spec, name, END).collect()
            for name in self.spec.data.source
        }
        views = [function(self.project, code) for code in self.spec.features]
        self.stream = Replay(tables, views, START, self.until)
        return self.stream

    def play(self, shown: Callable[[Progress], None], sabotage_at: datetime | None) -> None:
        """Replay the hours that are left; `shown` is called after each."""
        if self.stream is None or self._controller is None or self._inference is None:
            raise SetpointError("the replay has not begun")
        for hour in self.stream.hours(self.mark.done):
            self._ask(hour)
            self._deliver(self.stream, hour.at + HOUR)
            tick = None
            if self._is_time(hour.at + HOUR):
                tick = self._controller.tick()
                sabotage = sabotage_at is not None and hour.at >= sabotage_at
                self._write_mark(hour.at + HOUR, sabotage=sabotage)
            shown(
                Progress(
                    at=hour.at + HOUR,
                    asked=self._asked,
                    labelled=self._labelled,
                    hour=len(hour.ids),
                    tick=tick,
                )
            )
        self._rest()

    def _is_time(self, now: datetime) -> bool:
        """Tell whether the controller ticks: each hour of a release, else every third."""
        return self.mark.releasing or now - self.mark.done >= QUIET

    def close(self) -> None:
        """Let go of the store and of the server."""
        if self._controller is not None:
            self._controller.close()
        if self._inference is not None:
            self._inference.close()
        self.home.engine.dispose()

    def _ask(self, hour: Hour) -> None:
        """Ask about an hour's flights, in one request for each part that has any.

        A replay that was killed does not ask again what was counted already.
        """
        assert self._inference is not None  # noqa: S101 - `play` has checked
        counted = self._counted(hour) if self._resuming else set()
        starts = np.searchsorted(
            hour.times, [to_micros(hour.at + n * self.part) for n in range(HOUR // self.part + 1)]
        )
        for part, (low, high) in enumerate(pairwise(starts.tolist())):
            rows, ids = hour.features[low:high], hour.ids[low:high]
            if not counted.issuperset(ids):
                self.clock.set(hour.at + part * self.part)
                self._inference.predict_matrix(self.model, rows, ids=ids)
                self._asked += len(ids)

    def _counted(self, hour: Hour) -> set[str]:
        with self.home.reading() as conn:
            return set(serving.known_ids(conn, self.model, hour.ids))

    def _deliver(self, stream: Replay, to: datetime) -> None:
        """Deliver the labels that became known, and wait until all of it is in the log."""
        assert self._inference is not None  # noqa: S101 - `play` has checked
        known = stream.labels(self._delivered, to)
        self.clock.set(to)
        if known.ids:
            self._inference.label(self.model, known.ids, known.labels.tolist())
            self._labelled += len(known.ids)
        if self._resuming or self.mark.releasing:
            self._inference.sync(self.model, 0)
        self._delivered = to

    def _rest(self) -> None:
        """Deliver the labels of the last flights, which land after `until`."""
        assert self.stream is not None  # noqa: S101 - `play` has checked
        assert self._controller is not None  # noqa: S101
        last = self.mark.done + timedelta(days=1)
        if self.until < self.end:
            last = self.mark.done  # a shortened replay stops where it was told to
        self._deliver(self.stream, last)
        self._controller.tick()
        self._write_mark(last)

    def _sabotage(self, ctx: Context) -> None:
        """Train a version on shuffled labels and force it past the gate, when all is quiet."""
        conn, model = ctx.conn, self.model
        if self.mark.forced:
            return
        seen = observe(ctx, store.need(conn, model))
        if not self.mark.sabotage:
            busy = seen.candidate or (seen.release and seen.release.open)
            if busy or (seen.job and seen.job.state is JobState.REQUESTED):
                return
            job = self._bad_job(seen.training, ctx.now)
            if store.request(conn, job):
                record(ctx, "demo.announced", f"model:{model}", what=_REASON, job=job.id)
                self.mark.sabotage = job.id
            return
        job = next(j for j in store.jobs_of(conn, model) if j.id == self.mark.sabotage)
        if job.version is None:
            return
        models.override(ctx, models.OverrideGate(model=model, number=job.version, reason=_REASON))
        models.set_alias(ctx, model, "candidate", job.version, _REASON)
        self.mark.forced = True

    def _bad_job(self, training: str, now: datetime) -> Job:
        train = msgspec.structs.replace(self.spec.train, code=self.bad_code)
        bad = msgspec.structs.replace(self.spec, train=train)
        return Job(
            id=new_id("job", now),
            model=self.model,
            why=_REASON,
            training=training,
            spec=open_store(self.home.settings).put(canonical(bad)),
            state=JobState.REQUESTED,
            requested_at=now,
        )

    def _read_mark(self) -> Mark:
        with self.home.engine.begin() as conn:
            found = store.cursor(conn, _PROGRESS)
        return msgspec.convert(found, Mark) if found else Mark(done=self.start)

    def _write_mark(self, done: datetime, *, sabotage: bool = False) -> None:
        """Write down that all before `done` is done, and what the story adds to it, as one."""
        with self.home.engine.begin() as conn:
            if sabotage:
                self._sabotage(self.home.context(conn))
            self.mark.done = done
            self.mark.releasing = releases.current(conn, self.model) is not None
            store.move_cursor(conn, _PROGRESS, self.mark)
        self._resuming = False


def _in_words(check: Check) -> str:
    value = "" if check.value is None else f" {check.value:.4g}"
    interval = "" if check.low is None else f" ({check.low:.4g} to {check.high:.4g})"
    detail = f", {check.detail}" if check.detail else ""
    return f"{'pass' if check.passed else 'FAIL'} {check.name}{value}{interval}{detail}"


def _project(folder: Path, seed: int) -> Project:
    """Copy the flights project beside the store, with the seed written into its spec."""
    if not folder.exists():
        source = Path(setpoint.demo.__file__).parent / "project"
        aside = folder.with_name(".project")
        shutil.rmtree(aside, ignore_errors=True)
        shutil.copytree(source, aside, ignore=shutil.ignore_patterns("__pycache__"))
        spec = aside / f"{MODEL}.setpoint.yaml"
        text = spec.read_text(encoding="utf-8")
        spec.write_text(text.replace("seed: 7", f"seed: {seed}"), encoding="utf-8")
        aside.rename(folder)
    return load(folder)
