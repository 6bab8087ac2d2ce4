"""How versions come into memory: loaded, warmed and measured, with what answers for them."""

import logging
from collections.abc import Mapping
from time import perf_counter_ns

from setpoint.serve import fallbacks
from setpoint.serve.arms import Absent, Arm, Broken
from setpoint.serve.endpoints import Endpoint, made
from setpoint.serve.entities import EndpointSettings, Process, Wanted
from setpoint.serve.memory import Memory, Version
from setpoint.serve.metrics import Metrics
from setpoint.serve.protocols import Predictor, Source
from setpoint.serve.warming import Recent, warm

_log = logging.getLogger(__name__)


class Loading:
    """Loads the versions of a source. For one thread at a time."""

    def __init__(self, source: Source, metrics: Metrics, memory: Memory, recent: Recent) -> None:
        self._source = source
        self._metrics = metrics
        self._memory = memory
        self._recent = recent

    def endpoint(
        self,
        model: str,
        generation: int,
        wanted: Wanted,
        kept: Mapping[int, Arm],
        stored: Mapping[Version, int],
        named: int = 0,
    ) -> Endpoint:
        """Return an endpoint with all that is wanted in memory.

        A version that does not load has its place taken by one that always fails.

        Args:
            model: The model.
            generation: Of its deployments.
            wanted: What is to be behind the endpoint.
            kept: Versions that are in memory, and stay.
            stored: Bytes that versions have in the store, where that is known.
            named: Which version somebody names; 0: it is what is deployed. Nothing answers for a
                named one that fails: who named it wants that one.
        """
        arms: dict[int, Arm] = {}
        failed: list[tuple[int, str]] = []
        for version in wanted.versions:
            if version in kept:
                arms[version] = kept[version]
                continue
            try:
                arms[version] = self._arm(
                    model, version, wanted.settings, stored.get((model, version), 0), named=named
                )
            except Exception as error:  # noqa: BLE001 - a model is foreign code
                self._metrics.failed_to_load(model)
                _log.exception("version does not load", extra={"model": model, "version": version})
                failed.append((version, f"version {version} does not load: {error}"))
        for version, why in failed:
            known = next((arm.inputs for arm in arms.values()), ())
            arms[version] = Arm(version, Broken(why, known))
        return made(model, generation, wanted, arms, named)

    def _arm(
        self, model: str, version: int, settings: EndpointSettings, stored: int, *, named: int
    ) -> Arm:
        began = perf_counter_ns()
        with self._memory.measured((model, version), stored) as told:
            predictor = self._predictor(model, version, settings)
            arm = Arm(version, predictor)
            recorded = self._recent.of(model)
            warm(arm, recorded, lambda: self._source.background(model, version))
            if not named:
                arm.fallback = self._fallback(model, arm, settings)
            told(predictor)
        self._metrics.loaded(model, (perf_counter_ns() - began) // 1000)
        return arm

    def _predictor(self, model: str, version: int, settings: EndpointSettings) -> Predictor:
        load = self._source.loader(model, version)
        if settings.process is Process.SHARED:
            return load()
        from setpoint.serve.own import Own  # noqa: PLC0415 - for who wants it

        return Own(load, settings, f"{model} version {version}")

    def kept(
        self, model: str, before: Endpoint | None, settings: EndpointSettings
    ) -> dict[int, Arm]:
        """Return what stays of an endpoint, with what these settings have answer for it."""
        found = kept_of(before, settings)
        if before is None or fallbacks.rule(before.settings) == fallbacks.rule(settings):
            return found
        return {v: self._ruled(model, arm, settings) for v, arm in found.items()}

    def _ruled(self, model: str, arm: Arm, settings: EndpointSettings) -> Arm:
        new = Arm(arm.version, arm.predictor)
        new.pace = arm.pace
        new.fallback = self._fallback(model, new, settings)
        return new

    def _fallback(self, model: str, arm: Arm, settings: EndpointSettings) -> Arm | None:
        failed = self._metrics.failed_to_load
        return fallbacks.fallback_of(self._source, model, arm, settings, failed)


def kept_of(before: Endpoint | None, settings: EndpointSettings) -> dict[int, Arm]:
    """Return what of an endpoint is in memory and may stay behind one with these settings."""
    if before is None or _home(before.settings) != _home(settings):
        return {}
    return {v: arm for v, arm in before.parts.items() if is_loaded(arm)}


def is_loaded(arm: Arm) -> bool:
    """Tell whether a version is in memory."""
    return not isinstance(arm.predictor, Absent | Broken)


def _home(settings: EndpointSettings) -> object:
    """Return what decides where a model runs: one that runs elsewhere is loaded anew."""
    if settings.process is Process.SHARED:
        return settings.process
    return settings.process, settings.memory, settings.timeout, settings.concurrency
