"""What is served right now, as a source deploys it: followed, and swapped as a whole."""

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from functools import partial

from setpoint.errors import SetpointError, Unavailable
from setpoint.models.explaining.explainer import Explainer
from setpoint.serve.arms import Arm
from setpoint.serve.endpoints import Endpoint
from setpoint.serve.entities import Deployment, Described, Role, Wanted
from setpoint.serve.holding import Holding
from setpoint.serve.memory import Memory, Version
from setpoint.serve.metrics import Metrics
from setpoint.serve.protocols import Source
from setpoint.serve.warming import Recent
from setpoint.serve.yielding import step_back

_NAMES_SECONDS = 1.0  #: after which it is looked which versions policies mean by now

_log = logging.getLogger(__name__)


class Endpoints(Holding):
    """Follows the deployments of a source. Reads are one dictionary look-up."""

    def __init__(
        self,
        source: Source,
        metrics: Metrics,
        memory: Memory | None = None,
        recent: Recent | None = None,
    ) -> None:
        """Follow a source.

        Args:
            source: Says what is deployed, and brings it into memory.
            metrics: Counts.
            memory: What models may take; without a limit all that is deployed is in memory.
            recent: What was asked lately, to warm versions by.
        """
        super().__init__(source, metrics, memory, recent)
        self._source = source
        self._tried: dict[str, int] = {}  # the generation last loaded, or attempted
        self._named_at = 0.0
        self._prepared: set[str] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.problem: str | None = "starting"  #: why nothing is known of the deployments

    def explainer(self, model: str, arm: Arm) -> Explainer:
        """Return what explains a version; see `Source.explainer`."""
        return self._source.explainer(model, arm.version, arm.predictor)

    def refresh(self, *, again: bool = False) -> None:
        """Load what changed since the last time and swap it in.

        A canary or shadow that does not load is swapped in as one that always fails, so
        that its release sees it. A live version that does not load leaves the endpoint as
        it was, where there was one; it is tried once, and once more with `again`.

        With a limit of memory, what is not in memory is not loaded for that: whoever asks it
        has it loaded.

        Raises:
            Unavailable: If the source cannot be read.
        """
        with self._lock:
            try:
                wanted, changed = self._source.deployed(partial(self._due, again=again))
                known = self._described(changed)
                for model, one in changed.items():
                    self._change(model, wanted[model], one, known)
                    self._tried[model] = wanted[model]
                self._drop((model, 0) for model in self._now.keys() - wanted.keys())
                for gone in self._tried.keys() - wanted.keys():
                    del self._tried[gone]
                if changed or time.monotonic() - self._named_at > _NAMES_SECONDS:
                    self._name()
            except Unavailable as error:
                self.problem = error.message
                raise
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

    def _due(self, wanted: Mapping[str, int], *, again: bool) -> list[str]:
        """Return which endpoints are to be looked at; mostly, and quickly, none."""
        if not again and wanted == self._tried:
            return []
        return [model for model, number in wanted.items() if self._is_due(model, number, again)]

    def _is_due(self, model: str, generation: int, again: bool) -> bool:  # noqa: FBT001
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
        step_back(nice=0)
        while not self._stop.wait(seconds):
            try:
                self.refresh()
            except SetpointError as error:
                if str(error) != told:  # once, and not five times a second
                    told = str(error)
                    _log.warning("deployments not read", extra={"problem": told})
            else:
                told = ""

    def _described(self, changed: Mapping[str, Wanted]) -> dict[Version, Described]:
        """Return what is known of what is wanted, where that matters."""
        if self.memory.limit is None:
            return {}
        found = self._source.described(
            [(m, version) for m, one in changed.items() for version in one.versions]
        )
        self._stored |= {version: one.size for version, one in found.items()}
        self._prepare({one.flavor for one in found.values()})
        return found

    def _prepare(self, flavors: set[str]) -> None:
        """Import what versions will need that are loaded while others are answered."""
        from setpoint.models import runtime  # noqa: PLC0415 - on first use

        for flavor in flavors - self._prepared:
            runtime.prepare(flavor)
        self._prepared |= flavors

    def _change(
        self, model: str, generation: int, wanted: Wanted, known: Mapping[Version, Described]
    ) -> None:
        """Have an endpoint serve what is wanted by now."""
        if not wanted.deployments:
            self._drop([(model, 0)])
            return
        before = self._now.get(model)
        new: Endpoint | None = None
        if self.memory.limit is not None and (before is None or before.absent):
            new = self._without(model, generation, wanted, known)
        if new is not None:
            self._put(new)
        else:
            new = self._swap(model, generation, wanted)
        if new is not None:
            self.metrics.swapped(model)
            _log.info("swapped", extra={"model": model, "generation": generation})

    def _name(self) -> None:
        """Have those versions at hand that the policies of endpoints mean by now."""
        self._named_at = time.monotonic()
        policies = {m: one.settings.versions for m, one in self._now.items()}
        policies = {model: said for model, said in policies.items() if said}
        if not policies and not self._names:
            return
        names = self._source.names(policies)
        wanted = dict(self._nameable({m: one.numbers for m, one in names.items()}))
        self._drop(self._named.keys() - wanted.keys())
        new = {
            key: one
            for key, one in wanted.items()
            if key not in self._named or self._named[key].settings != one.settings
        }
        if new:
            known = self._source.described(list(new))
            for (model, version), one in new.items():
                found = self._without(model, 0, one, known, named=version)
                if found is not None:
                    self._put(found)
        self._names = names

    def _nameable(self, numbers: Mapping[str, Iterable[int]]) -> Iterable[tuple[Version, Wanted]]:
        for model, versions in numbers.items():
            served = self._now[model]
            for version in versions:
                alone = Deployment(model=model, version=version, role=Role.LIVE, weight=1.0)
                wanted = Wanted(deployments=[alone], settings=served.settings)
                yield (model, version), wanted
