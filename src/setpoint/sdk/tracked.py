"""The run as a script sees it."""

import importlib
import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, SupportsInt

from setpoint.config import Settings
from setpoint.errors import SetpointError
from setpoint.runs.entities import Run
from setpoint.sdk import capture as captured
from setpoint.sdk.capture import Capture
from setpoint.sdk.folders import Meta
from setpoint.sdk.media.base import Media, keep
from setpoint.sdk.recorder import Recorder
from setpoint.sdk.records import Begin, End, Said
from setpoint.sdk.spool import now
from setpoint.sdk.values import INTEGERS, flat, step_of, texts, value_of
from setpoint.sdk.watch import Alert, Seen, Watch, see, wait

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from setpoint.core.operations import Backend
    from setpoint.sdk.system import Sampler

FINISH_SECONDS = 30.0  #: that the end of a run waits for its delivery
_CAPTURE_SECONDS = 10.0
_LONGEST = 250  #: characters of a text that may be meant as a path
_WARNINGS = 100  #: more than so many different ones help nobody
_LOOK_SECONDS = 1.0  #: between looks at what is watched for stalling

_log = logging.getLogger("setpoint")


class Tracked:
    """A run that is being recorded.

    Nothing here waits for a network or raises because of one, of a full disk or of a value
    that cannot be kept: the training goes on, and a warning of the logger ``setpoint`` says
    what is wrong, once. Methods may be called from any thread, and in forked processes.
    """

    def __init__(
        self,
        recorder: Recorder,
        begin: Begin,
        *,
        rank: int,
        capture: Capture,
        steps: Mapping[str, int] | None = None,
    ) -> None:
        self.id = recorder.meta.run
        self.experiment = begin.experiment
        self._recorder = recorder
        self._rank = rank
        self._steps = dict(steps or {})  # the last of each name
        self._drawn: dict[str, tuple[int, int]] = {}  # by name: the last step, how many at it
        self._refused: set[str] = set()
        self._watched: dict[str, tuple[Watch, Seen]] = {}
        self._watcher: threading.Thread | None = None
        self._over = threading.Event()  # no more is taken
        self._done = threading.Event()  # and what there was has been delivered, or left
        self._sampler: Sampler | None = None
        self._harmless = _Harmless(self._warn)
        recorder.record(begin)
        _here[self.id] = self
        self._capturing = threading.Thread(
            target=self._capture, args=(capture, Path.cwd()), name="setpoint-capture", daemon=True
        )
        self._capturing.start()

    @property
    def folder(self) -> Path:
        """Where the run is kept on this machine until it is delivered."""
        return self._recorder.folder

    @property
    def over(self) -> bool:
        """Whether it was finished, by this process."""
        return self._over.is_set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        said = "" if error is None else f"{type(error).__name__}: {error}".rstrip(": ")
        self.finish(error=said)

    def log(
        self,
        values: Mapping[str, Any] | None = None,
        *,
        step: SupportsInt | None = None,
        **named: Any,
    ) -> None:
        """Record values of one step: numbers, and what can be drawn.

        Numbers are kept as 64-bit floats, NaN and infinities as such. Names with slashes
        make groups; a mapping within `values` is one. The same name may be logged at any
        step in any order, and at one step more than once: all are kept, and a curve shows
        the last.

        Args:
            values: By name; for names that are no Python identifiers.
            step: An integer of 64 bits. Without one, each name has the step after its last.
            named: Values by name.
        """
        at, points = now(), []
        with self._harmless, self._recorder.lock:
            if values:
                named = {**flat(values), **named}
            place = step if type(step) is int and step in INTEGERS else self._step(step)
            for name, value in named.items():
                number = value if type(value) is float else self._number(name, value, place, at)
                if number is None:
                    continue
                points.append((name, self._place(name, place), number))
            if points:
                at = self._recorder.points(points, at)
                if self._watched:
                    self._look(points, at)

    def params(self, params: Mapping[str, Any] | None = None, **named: Any) -> None:
        """Record what the run was started with. A param keeps its first value.

        Mappings are flattened with dots; what is no text, number or truth value is kept as
        JSON or as its text.
        """
        with self._harmless:
            said = {**flat(params or {}, "."), **flat(named, ".")}
            self._recorder.record(Said(params={name: value_of(v) for name, v in said.items()}))

    def tags(self, tags: Mapping[str, Any] | None = None, **named: Any) -> None:
        """Record words about the run; they may change."""
        with self._harmless:
            self._recorder.record(Said(tags=texts({**(tags or {}), **named})))

    def inputs(self, **versions: int) -> None:
        """Record which versions of datasets the run reads."""
        with self._harmless:
            numbers = {name: int(version) for name, version in versions.items()}
            self._recorder.record(Said(inputs=numbers))

    def artifact(self, path: str, content: bytes | str | Path) -> None:
        """Store bytes, a text, a file, or all files of a folder, under a path of the run's.

        A file is copied now: what happens to it later does not count.
        """
        with self._harmless:
            if isinstance(content, str):
                if len(content) < _LONGEST and Path(content).exists():
                    self._warn(path, f"artifact {path!r} is a text; a file is a Path({content!r})")
                content = content.encode("utf-8", "replace")
            files = {path: content}
            if isinstance(content, Path) and content.is_dir():
                found = [file for file in sorted(content.rglob("*")) if file.is_file()]
                files = {f"{path}/{file.relative_to(content).as_posix()}": file for file in found}
            for name, data in files.items():
                self._keep(name, data)

    def alert(self, title: str, text: str = "") -> None:
        """Say that something deserves a look: as a warning here, and on the run's page."""
        _log.warning("setpoint: run %s: %s%s", self.id, title, f": {text}" if text else "")
        with self._harmless:
            self._recorder.record(Said(tags=texts({f"setpoint.alert.{title}": text or title})))

    def watch(self, *metrics: str, **rules: Any) -> None:
        """Alert when one of these metrics is not a number, stalls or diverges.

        Args:
            metrics: Their names.
            rules: Fields of `setpoint.sdk.watch.Watch`: ``nan``, ``stalled`` (seconds),
                ``diverging`` (times the usual spread above the best), ``patience`` (values),
                ``lower_is_better``.
        """
        with self._recorder.lock:
            for metric in metrics:
                self._watched[metric] = Watch(metric=metric, **rules), Seen(at=now())
            stalls = any(watch.stalled for watch, _ in self._watched.values())
            if stalls and self._watcher is None:
                self._watcher = threading.Thread(
                    target=self._wait, name="setpoint-watch", daemon=True
                )
                self._watcher.start()

    def callback(self, framework: str, **options: Any) -> Any:
        """Return what a framework calls while it trains, to log into this run.

        Args:
            framework: sklearn, xgboost, lightgbm, torch, lightning, keras or optuna.
            options: Of that callback: see `setpoint.sdk.autolog`.
        """
        return _load("autolog").callback(self, framework, **options)

    def flush(self, seconds: float = 10.0) -> bool:
        """Make all that was logged durable and deliver it; tell whether that was done.

        An offline run is delivered nowhere: being on disk is enough.
        """
        self._capturing.join(seconds)
        return self._recorder.flush(seconds)

    def show(self) -> Run:
        """Return everything recorded so far, as the destination has it.

        Raises:
            SetpointError: If it cannot be asked, or has not heard of the run yet.
        """
        self.flush()
        with self.asking() as backend:
            found: Run = _load("destination").show(backend, self.id)
            return found

    def asking(self) -> "AbstractContextManager[Backend]":
        """Open the destination, to run operations that read it.

        Raises:
            SetpointError: If it cannot be opened, or the run is offline.
        """
        return self._recorder.asking()

    def wait(self, seconds: float) -> bool:
        """Wait until this process has finished the run; tell whether it has."""
        return self._done.wait(seconds)

    def finish(self, *, error: str = "", seconds: float = FINISH_SECONDS) -> bool:
        """End the run, as failed if there is an error; a second time does nothing.

        Waits for its delivery, but not for a destination that is away: what is left is on
        disk and goes with the next run of this home, or with ``setpoint sync``.

        Returns:
            Whether everything has been delivered.
        """
        with self._recorder.lock:
            if self._over.is_set():
                return True
            self._over.set()
        _here.pop(self.id, None)
        self._capturing.join(_CAPTURE_SECONDS)
        if self._sampler is not None:
            self._sampler.stop()
        if self._rank == 0 or error:
            end = End(at=now(), status="failed" if error else "finished", error=error)
            self._recorder.record(end)
        done = self._recorder.close(seconds)
        self._done.set()
        if not done:
            _log.warning(
                "setpoint: run %s is kept in %s until it can be delivered; now: setpoint sync",
                self.id,
                self.folder,
            )
        return done

    def _ipython_display_(self) -> None:
        _load("notebook").display(self)

    def _repr_html_(self) -> str:
        page: str = _load("notebook").html(self)
        return page

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, as for a process of a pool, it is the same run, joined by that process."""
        return joined, (self._recorder.meta, self._recorder.settings)

    def _place(self, name: str, step: int | None) -> int:
        place = self._steps.get(name, -1) + 1 if step is None else step
        self._steps[name] = place
        return place

    def _number(self, name: str, value: Any, step: int | None, at: int) -> float | None:
        """Return the value as a float; None if it is something else, which is dealt with."""
        if not isinstance(value, str | bytes) and not hasattr(value, "columns"):
            try:
                return float(value.item() if hasattr(value, "item") else value)
            except (TypeError, ValueError, OverflowError, RuntimeError):
                pass  # a picture, a table, a tensor of many, nothing at all
        medium = _load("media.known").media_of(value)
        if medium is None:
            what = f"{type(value).__name__} {value!r:.60}"
            hint = "sp.Text(…), sp.Image(…), sp.Table(…) and sp.Histogram(…) can be logged too"
            self._warn(name, f"{name!r} is {what}, which is no number and not kept; {hint}")
        else:
            self._draw(name, medium, self._place(name, step), at)
        return None

    def _step(self, step: Any) -> int | None:
        if step is None:
            return None
        place = step_of(step)
        if place is None:
            self._warn("step", f"step {step!r:.60} is no integer of 64 bits: counted on instead")
        return place

    def _keep(self, path: str, content: bytes | Path) -> None:
        try:
            self._recorder.keep(path, content)
        except (SetpointError, OSError) as error:
            self._warn(path, f"artifact {path!r} is not kept: {error}")

    def _draw(self, name: str, medium: Media, step: int, at: int) -> None:
        last, count = self._drawn.get(name, (step, 0))
        count = count if last == step else 0
        self._drawn[name] = step, count + 1
        rank = f"-rank{self._rank}" if self._rank else ""
        try:
            keep(self._recorder, medium, f"media/{name}/{step}-{count}{rank}", name, step, at)
        except Exception as error:  # noqa: BLE001 - other people's code draws here
            self._warn(name, f"{name!r} is not kept: {error}")

    def _look(self, points: list[tuple[str, int, float]], at: int) -> None:
        for name, step, value in points:
            watched = self._watched.get(name)
            if watched is not None:
                seen, alert = see(*watched, value, step, at)
                self._watched[name] = watched[0], seen
                self._tell(alert)

    def _wait(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            with self._recorder.lock:
                for name, (rule, before) in list(self._watched.items()):
                    seen, alert = wait(rule, before, now())
                    self._watched[name] = rule, seen
                    self._tell(alert)

    def _tell(self, alert: Alert | None) -> None:
        if alert is not None:
            self.alert(f"{alert.metric}.{alert.kind}", alert.text)

    def _capture(self, capture: Capture, folder: Path) -> None:
        recorder = self._recorder
        try:
            if capture.system and not self._over.is_set():
                prefix = f"system/rank{self._rank}/" if self._rank else "system/"
                sampler = _load("system").Sampler
                self._sampler = sampler(self.log, recorder.folder, capture.system, prefix)
            if capture.code or capture.environment:
                move = recorder.moves
                recorder.record(captured.origin(capture, folder, recorder.objects, move=move))
        except Exception as error:  # noqa: BLE001 - the outermost frame of the thread
            self._warn("capture", f"code and environment are not recorded: {error!r}")

    def _warn(self, about: str, what: str) -> None:
        """Say something once for each thing it is about."""
        with self._recorder.lock:
            if about in self._refused or len(self._refused) > _WARNINGS:
                return
            self._refused.add(about)
        _log.warning("setpoint: run %s: %s", self.id, what)


class _Harmless:
    """A block out of which no error comes: that of a training is the outermost frame here."""

    def __init__(self, warn: Callable[[str, str], None]) -> None:
        self._warn = warn

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> bool:
        if kind is None or not isinstance(error, Exception):
            return False
        self._warn(kind.__name__, f"something is not kept: {error!r}")
        return True


_here: dict[str, Tracked] = {}  # the runs of this process, by id


def joined(meta: Meta, where: Settings) -> Tracked:
    """Return the run as a process has it that neither begins nor ends it."""
    if meta.run in _here:
        return _here[meta.run]
    begin = Begin(experiment=meta.experiment, at=now(), joins=True)
    nothing = Capture(code=False, environment=False, system=0)
    return Tracked(Recorder(meta, where), begin, rank=os.getpid(), capture=nothing)


def _load(name: str) -> Any:
    return importlib.import_module(f"setpoint.sdk.{name}")
