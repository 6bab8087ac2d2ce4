"""What is served right now: loaded versions behind endpoints, swapped as a whole."""

import logging
import threading
from collections.abc import Sequence
from functools import partial

from setpoint.errors import SetpointError, Unavailable
from setpoint.models.explaining.explainer import Explainer
from setpoint.serve import fallbacks
from setpoint.serve.arms import Arm, Broken, spec_of
from setpoint.serve.entities import (
    Deployment,
    EndpointSettings,
    Process,
    Role,
    SplitArm,
    Wanted,
)
from setpoint.serve.keeping import keeping
from setpoint.serve.metrics import Metrics
from setpoint.serve.protocols import Predictor, Source
from setpoint.serve.routing import Route, router, splitter
from setpoint.serve.v2 import Inputs, InputSpec
from setpoint.serve.watched import Watched
from setpoint.serve.yielding import uncollected

SLOW_MICROS = 500  #: from which a thread of its own, and company, cost less than they give

_log = logging.getLogger(__name__)


class Endpoint:
    """The versions of one model that take part now. Immutable: a change is another one."""

    def __init__(
        self,
        model: str,
        generation: int,
        deployed: Sequence[Deployment],
        arms: dict[int, Arm],
        settings: EndpointSettings = EndpointSettings(),  # noqa: B008 - frozen
        split: Sequence[SplitArm] = (),
    ) -> None:
        self.model = model
        self.generation = generation
        self.settings = settings
        self.deployed = (*deployed, *_besides(model, deployed, split))
        by_role = {d.role: d for d in deployed}
        live = arms[by_role[Role.LIVE].version]
        self.inputs = _inputs(live, [arms[d.version] for d in self.deployed], settings.key_field)
        self.outputs = live.outputs
        discreet = bool(settings.redact)
        self.live = live.behind(self.inputs, discreet=discreet)
        self.canary = self._arm(by_role.get(Role.CANARY), arms)
        self.shadow = self._arm(by_role.get(Role.SHADOW), arms)
        self.route: Route | None = None
        if (canary := by_role.get(Role.CANARY)) is not None:
            self.route = router(f"{model}/{canary.version}", canary.weight)
        #: the arms of a test, by the order of their places
        self.arms = [
            (one.name, arms[one.version].behind(self.inputs, discreet=discreet)) for one in split
        ]
        if split:
            self.route = splitter(model, split, self.route)
        #: versions by their part in a release, or the name of their arm
        self.named = {d.role.value: d.version for d in deployed} | {
            one.name: one.version for one in split
        }
        self.keyed = bool(settings.key_header or settings.key_field)
        by_field = bool(settings.key_field) and self.route is not None
        self.plain = (  #: see `serve.plain`
            self.outputs.only_score and not self.inputs.mixed and not split and not by_field
        )
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
        for arm in (self.live, self.canary, *(arm for _, arm in self.arms)):
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
            several = (before.live, before.canary, before.shadow, *(a for _, a in before.arms))
            kept = {arm.version: arm for arm in several if arm}
        arms: dict[int, Arm] = {}
        failed: list[tuple[int, str]] = []
        settings = wanted.settings
        ruled = before is not None and fallbacks.rule(before.settings) == fallbacks.rule(settings)
        versions = [one.version for one in wanted.deployments]
        versions += [one.version for one in wanted.arms]
        for version in dict.fromkeys(versions):
            old = kept.get(version)
            if old is not None and not isinstance(old.predictor, Broken):
                arms[version] = old if ruled else self._with_fallback(model, old, settings)
                continue
            try:
                arm = Arm(version, self._predictor(model, version, settings))
                arm.warm()
                arms[version] = self._with_fallback(model, arm, settings)
            except Exception as error:  # noqa: BLE001 - a model is foreign code
                self.metrics.failed_to_load(model)
                _log.exception("version does not load", extra={"model": model, "version": version})
                failed.append((version, f"version {version} does not load: {error}"))
        for version, why in failed:
            known = next((arm.inputs for arm in arms.values()), ())
            arms[version] = Arm(version, Broken(why, known))
        return Endpoint(model, generation, wanted.deployments, arms, settings, wanted.arms)

    def _with_fallback(self, model: str, arm: Arm, settings: EndpointSettings) -> Arm:
        failed = self.metrics.failed_to_load
        found = fallbacks.fallback_of(self._source, model, arm, settings, failed)
        return Arm(arm.version, arm.predictor, found)

    def _predictor(self, model: str, version: int, settings: EndpointSettings) -> Predictor:
        load = self._source.loader(model, version)
        if settings.process is Process.SHARED:
            return load()
        from setpoint.serve.own import Own  # noqa: PLC0415 - for who wants it

        return Own(load, settings, f"{model} version {version}")


def _home(settings: EndpointSettings) -> object:
    """Return what decides where a model runs: one that runs elsewhere is loaded anew."""
    if settings.process is Process.SHARED:
        return settings.process
    return settings.process, settings.memory, settings.timeout, settings.concurrency


def _besides(
    model: str, deployed: Sequence[Deployment], split: Sequence[SplitArm]
) -> list[Deployment]:
    """Return the versions that only a test has here, each once."""
    known = {one.version for one in deployed}
    return [
        Deployment(model=model, version=version, role=Role.ARM, weight=share)
        for version, share in {one.version: one.share for one in split}.items()
        if version not in known
    ]


def _inputs(live: Arm, arms: Sequence[Arm], key: str) -> Inputs:
    """Return the live version's inputs, then what others take besides, and what routing does."""
    found = {i.name: spec_of(i) for i in live.inputs}
    for arm in arms:
        for known in arm.inputs:
            found.setdefault(known.name, spec_of(known, required=False))
    if key:
        found.setdefault(key, InputSpec(key, text=True, required=False, datatype="BYTES"))
    return Inputs(tuple(found.values()))
