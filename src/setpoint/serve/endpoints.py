"""What is served right now: loaded versions behind endpoints, swapped as a whole."""

import logging
import threading
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from math import isfinite
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from setpoint.errors import SetpointError, Unavailable
from setpoint.models.explaining.explainer import Explainer
from setpoint.serve.entities import Deployment, EndpointSettings, Process, Role, Wanted
from setpoint.serve.keeping import keeping
from setpoint.serve.metrics import Metrics
from setpoint.serve.outputs import SCORE, outputs_of
from setpoint.serve.protocols import Floats, Given, Input, Predictor, Source
from setpoint.serve.routing import router
from setpoint.serve.v2 import Inputs, InputSpec, Rows
from setpoint.serve.watched import Watched
from setpoint.serve.yielding import uncollected

SLOW_MICROS = 500  #: from which a thread of its own, and company, cost less than they give

_log = logging.getLogger(__name__)


class ModelFailed(Exception):  # an outcome, not an error of ours
    """A version raised, or answered something that is no score for every row."""


class Arm:
    """One loaded version behind an endpoint, ready to score an endpoint's rows."""

    def __init__(self, version: int, predictor: Predictor, fallback: "Arm | None" = None) -> None:
        self.version = version
        self.predictor = predictor
        self.fallback = fallback  #: the version's baseline: answers when it is live and fails
        self.inputs = tuple(predictor.inputs)
        self.names = tuple(i.name for i in self.inputs)
        self.outputs = outputs_of(predictor)
        self._specs = [spec_of(i) for i in self.inputs]
        self._mixed = any(spec.text or spec.blob for spec in self._specs)
        self._columns: list[int] | None = None
        self._discreet = False  # what a model says of a row is not logged

    def behind(self, inputs: Inputs, *, discreet: bool = False) -> "Arm":
        """Return this arm for an endpoint whose rows have the columns of `inputs`.

        A `discreet` one leaves what a failed model said out of the server's log: it may
        quote a value that is not to be written down.
        """
        fallback = None
        if self.fallback is not None:
            fallback = self.fallback.behind(inputs, discreet=discreet)
        arm = Arm(self.version, self.predictor, fallback)
        arm._discreet = discreet
        order = [
            inputs.numeric.index(spec.name)
            for spec in self._specs
            if not spec.text and not spec.blob
        ]
        arm._columns = None if order == list(range(len(inputs.numeric))) else order
        return arm

    def score(self, rows: Rows) -> Floats:
        """Return ``[n]`` scores, see `answer`."""
        return self.answer(rows)[0]

    def answer(self, rows: Rows) -> tuple[Floats, Given | None]:
        """Return ``[n]`` scores, and all outputs of a model that gives more than those.

        A score is NaN where a row lacks an input that the version needs, or the model gives none.

        Raises:
            ModelFailed: If the model raised, or its answer is not one for each row.
        """
        if rows.absent and not rows.absent.isdisjoint(self.names):
            missing = sorted(rows.absent.intersection(self.names))
            raise ModelFailed(f"version {self.version} needs the inputs {', '.join(missing)}")
        values = rows.values if self._columns is None else rows.values[:, self._columns]
        try:
            given: Any = self._named(values, rows) if self._mixed else values
            found = self.predictor.predict(given)
            outputs = found if type(found) is dict else None
            scores = np.asarray(
                found if outputs is None else _score_in(outputs, rows.count), dtype=np.float64
            )
        except Exception as error:  # noqa: BLE001 - a model is foreign code
            trace = _places(error) if self._discreet else _trace(error)
            _log.warning("model raised", extra={"version": self.version, "trace": trace})
            raise ModelFailed(f"version {self.version}: {type(error).__name__}: {error}") from None
        if scores.shape != (rows.count,):
            raise ModelFailed(
                f"version {self.version} answered {scores.shape} for {rows.count} rows"
            )
        if outputs is not None:
            self._check_counts(outputs, rows.count)
        if self.outputs.scored and not isfinite(scores.dot(scores)):
            self._check(scores, rows)
        return scores, outputs

    def _check_counts(self, outputs: Given, count: int) -> None:
        for name, values in outputs.items():
            if len(values) != count:
                raise ModelFailed(
                    f"version {self.version} answered {len(values)} {name} for {count} rows"
                )

    def given(self, rows: Rows) -> Any:
        """Return an endpoint's rows as the version takes them, as `score` hands them over."""
        values = rows.values if self._columns is None else rows.values[:, self._columns]
        return self._named(values, rows) if self._mixed else values

    def _check(self, scores: Floats, rows: Rows) -> None:
        """Let NaN stand for "no answer" only where an input of the row is missing."""
        wrong = ~np.isfinite(scores)
        excused = np.isnan(scores) & np.isnan(rows.values).any(axis=1)
        for texts in rows.texts.values():
            excused |= np.isnan(scores) & np.array([text is None for text in texts])
        if (wrong & ~excused).any():
            row = int(np.flatnonzero(wrong & ~excused)[0])
            raise ModelFailed(f"version {self.version} answered {scores[row]} for row {row}")

    def warm(self) -> None:
        """Score one row of zeros, so that no request pays for what happens only once."""
        if any(spec.blob for spec in self._specs):
            return  # no image is a row of zeros
        texts: dict[str, list[str | None]] = {s.name: [""] for s in self._specs if s.text}
        given: Any = np.zeros((1, len(self.inputs) - len(texts)))
        if texts:
            given = self._named(given, Rows(1, given, texts))
        self.predictor.predict(given)

    def _named(self, values: Floats, rows: Rows) -> dict[str, NDArray[Any]]:
        named: dict[str, NDArray[Any]] = {}
        column = 0
        for known in self._specs:
            if known.blob:
                named[known.name] = rows.blobs[known.name]
            elif known.text:
                named[known.name] = np.array(rows.texts[known.name], dtype=object)
            else:
                named[known.name] = values[:, column]
                column += 1
        return named


class Broken(Struct, frozen=True):
    """Stands for a version that did not load: every score is its failure."""

    why: str
    inputs: Sequence[Any]

    def predict(self, rows: object) -> NDArray[Any]:  # noqa: ARG002
        raise Unavailable(self.why)


class Endpoint:
    """The versions of one model that take part now. Immutable: a change is another one."""

    def __init__(
        self,
        model: str,
        generation: int,
        deployed: Sequence[Deployment],
        arms: dict[int, Arm],
        settings: EndpointSettings = EndpointSettings(),  # noqa: B008 - frozen
    ) -> None:
        self.model = model
        self.generation = generation
        self.settings = settings
        self.deployed = tuple(deployed)
        by_role = {d.role: d for d in deployed}
        live = arms[by_role[Role.LIVE].version]
        self.inputs = _inputs(live, [arms[d.version] for d in deployed])
        self.outputs = live.outputs
        self.plain = self.outputs.only_score and not self.inputs.mixed  #: see `serve.plain`
        self.live = live.behind(self.inputs, discreet=bool(settings.redact))
        self.canary = self._arm(by_role.get(Role.CANARY), arms)
        self.shadow = self._arm(by_role.get(Role.SHADOW), arms)
        self.route: Callable[[Sequence[str]], bytes] | None = None
        if (canary := by_role.get(Role.CANARY)) is not None:
            self.route = router(f"{model}/{canary.version}", canary.weight)
        self.alone = len(deployed) == 1
        self.keeping = keeping(settings)  #: what is logged of its rows; None: all of everything
        predictor = self.live.predictor
        if settings.timeout is not None:
            self._watch()
        #: why the live version cannot answer, None if it can
        self.broken = predictor.why if isinstance(predictor, Broken) else None
        aside = (
            settings.timeout is not None or settings.batch_wait or settings.process is Process.OWN
        )
        self._bound = -1.0 if aside else SLOW_MICROS
        #: whether it is scored beside the event loop: it takes too long, or may not hold it up
        self.slow = bool(aside)
        self.body = settings.body  #: bytes of a request that it reads
        self._micros = 0.0

    def trouble(self) -> str | None:
        """Return why the live version cannot answer now, None if it can."""
        return self.broken or getattr(self.live.predictor, "down", None)

    def took(self, nanos: int) -> None:
        """Note how long scoring a request took: a slow moving mean, so that one that was
        held up by something else does not count as slow.
        """
        self._micros += (min(nanos / 1000, 4 * SLOW_MICROS) - self._micros) * 0.05
        self.slow = self._micros > self._bound

    def _watch(self) -> None:
        """Have the arms tell which of them keeps a request waiting."""
        for arm in (self.live, self.canary):
            if arm is not None and not isinstance(arm.predictor, Broken | Watched):
                arm.predictor = Watched(arm.predictor)

    def _arm(self, deployment: Deployment | None, arms: dict[int, Arm]) -> Arm | None:
        if deployment is None:
            return None
        discreet = bool(self.settings.redact)
        return arms[deployment.version].behind(self.inputs, discreet=discreet)


class Endpoints:
    """Follows the deployments of a source. Reads are one dictionary look-up."""

    def __init__(self, source: Source, metrics: Metrics) -> None:
        self._source = source
        self.metrics = metrics
        self._now: dict[str, Endpoint] = {}
        self._tried: dict[str, int] = {}  # the generation last loaded, or attempted
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.problem: str | None = "starting"  #: why nothing is known of the deployments

    def get(self, model: str) -> Endpoint | None:
        return self._now.get(model)

    def all(self) -> dict[str, Endpoint]:
        return self._now

    def explainer(self, model: str, arm: Arm) -> Explainer:
        """Return what explains a version; see `Source.explainer`."""
        return self._source.explainer(model, arm.version, arm.predictor)

    def refresh(self, *, again: bool = False) -> None:
        """Load what changed since the last time and swap it in.

        A canary or shadow that does not load is swapped in as one that always fails, so
        that its release sees it. A live version that does not load leaves the endpoint as
        it was, where there was one; it is tried once, and once more with `again`.

        Raises:
            Unavailable: If the source cannot be read.
        """
        with self._lock:
            try:
                wanted, changed = self._source.deployed(partial(self._due, again=again))
            except Unavailable as error:
                self.problem = error.message
                raise
            swapped = dict(self._now)
            for model, one in changed.items():
                with uncollected():
                    new = self._endpoint(model, wanted[model], one) if one.deployments else None
                if new is None:
                    swapped.pop(model, None)
                elif new.broken is None or model not in swapped:
                    swapped[model] = new
                    self.metrics.swapped(model)
                    _log.info("swapped", extra={"model": model, "generation": wanted[model]})
                self._tried[model] = wanted[model]
            for gone in swapped.keys() - wanted.keys():
                del swapped[gone]
            self._now = swapped
            self.problem = None

    def follow(self, seconds: float = 0.2) -> None:
        """Refresh every `seconds` in a thread until `close`."""
        self._thread = threading.Thread(
            target=self._refresh_often, args=(seconds,), name="deployments", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _due(self, model: str, generation: int, *, again: bool) -> bool:
        if self._tried.get(model) != generation:
            return True
        served = self._now.get(model)
        return (
            again
            and served is not None
            and (served.generation != generation or served.broken is not None)
        )

    def _refresh_often(self, seconds: float) -> None:
        told = ""
        while not self._stop.wait(seconds):
            try:
                self.refresh()
            except SetpointError as error:
                if str(error) != told:  # once, and not five times a second
                    told = str(error)
                    _log.warning("deployments not read", extra={"problem": told})
            else:
                told = ""

    def _endpoint(self, model: str, generation: int, wanted: Wanted) -> Endpoint:
        before = self._now.get(model)
        kept: dict[int, Arm] = {}
        if before is not None and _home(before.settings) == _home(wanted.settings):
            kept = {a.version: a for a in (before.live, before.canary, before.shadow) if a}
        arms: dict[int, Arm] = {}
        failed: list[tuple[int, str]] = []
        for deployment in wanted.deployments:
            version = deployment.version
            old = kept.get(version)
            if old is not None and not isinstance(old.predictor, Broken):
                arms[version] = old
                continue
            try:
                arm = Arm(version, self._predictor(model, version, wanted.settings))
                arm.warm()
                arm.fallback = self._baseline(model, arm)
                arms[version] = arm
            except Exception as error:  # noqa: BLE001 - a model is foreign code
                self.metrics.failed_to_load(model)
                _log.exception("version does not load", extra={"model": model, "version": version})
                failed.append((version, f"version {version} does not load: {error}"))
        for version, why in failed:
            known = next((arm.inputs for arm in arms.values()), ())
            arms[version] = Arm(version, Broken(why, known))
        return Endpoint(model, generation, wanted.deployments, arms, wanted.settings)

    def _predictor(self, model: str, version: int, settings: EndpointSettings) -> Predictor:
        load = self._source.loader(model, version)
        if settings.process is Process.SHARED:
            return load()
        from setpoint.serve.own import Own  # noqa: PLC0415 - for who wants it

        return Own(load, settings, f"{model} version {version}")

    def _baseline(self, model: str, arm: Arm) -> Arm | None:
        """Load and warm a version's baseline. Without it the version serves all the same."""
        version = arm.version
        try:
            predictor = self._source.baseline(model, version)
            if predictor is None:
                return None
            found = Arm(version, predictor)
            found.warm()
        except Exception:  # noqa: BLE001 - a model is foreign code
            self.metrics.failed_to_load(model)
            _log.exception("baseline does not load", extra={"model": model, "version": version})
            return None
        if set(found.names) <= set(arm.names):
            return found
        _log.warning("baseline takes other inputs", extra={"model": model, "version": version})
        return None


def _home(settings: EndpointSettings) -> object:
    """Return what decides where a model runs: one that runs elsewhere is loaded anew."""
    if settings.process is Process.SHARED:
        return settings.process
    return settings.process, settings.memory, settings.timeout, settings.concurrency


def _inputs(live: Arm, arms: Sequence[Arm]) -> Inputs:
    """Return the live version's inputs, then what others take besides."""
    found = {i.name: spec_of(i) for i in live.inputs}
    for arm in arms:
        for known in arm.inputs:
            found.setdefault(known.name, spec_of(known, required=False))
    return Inputs(tuple(found.values()))


def spec_of(known: Input, *, required: bool = True) -> InputSpec:
    """Return an input of a model as requests are read against it."""
    shape, raw = tuple(getattr(known, "shape", ())), getattr(known, "raw", False)
    blob = bool(shape) or raw
    text = known.datatype == "BYTES" and not blob
    return InputSpec(known.name, text, required, blob, known.datatype, shape)


def _score_in(outputs: Given, count: int) -> Floats:
    """Return the score among outputs, NaN if there is none."""
    return outputs[SCORE] if SCORE in outputs else np.full(count, np.nan)


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-4000:]


def _places(error: BaseException) -> str:
    """Return where an error happened and its kind, without what it says."""
    where = "".join(traceback.format_tb(error.__traceback__))
    return f"{where}{type(error).__name__}"[-4000:]
