"""Runs a pipeline here, step by step; a run that was killed goes on after its last step."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from blake3 import blake3
from msgspec import Struct
from sqlalchemy import Engine

from setpoint.artifacts.contract import ObjectStore
from setpoint.core.clock import Clock
from setpoint.errors import NotFound
from setpoint.pipelines import codec, store
from setpoint.pipelines.graph import Step, ordered


class StepRun(Struct, frozen=True, kw_only=True):
    """What became of one step."""

    step: str
    key: str
    cached: bool
    seconds: float


class Workshop(Struct, frozen=True, kw_only=True):
    """Where results are kept while a pipeline runs."""

    engine: Engine
    objects: ObjectStore
    clock: Clock


def run(
    steps: Iterable[Step],
    given: Mapping[str, Any],
    at: Workshop,
    *,
    told: Callable[[StepRun], None] = lambda _: None,
) -> dict[str, Any]:
    """Run `steps` in order and return every result, by name, with the given values.

    A step's key is the hash of its code and of its inputs' keys; where a result lies under
    that key it is loaded instead of made. Inputs that the caller gives are hashed by value.

    Args:
        steps: The pipeline.
        given: Values that steps may ask for by name.
        at: The database and object store of results.
        told: Called after each step, for progress.

    Raises:
        Invalid: If the steps do not fit together, or a result cannot be stored.
    """
    plan = ordered(steps, given)
    keys = {
        name: codec.fingerprint(value) for name, value in given.items() if _is_needed(name, plan)
    }
    results = dict(given)
    for item in plan:
        parts = [item.name, item.code, *(f"{need}={keys[need]}" for need in item.needs)]
        keys[item.name] = key = blake3("\0".join(parts).encode()).hexdigest()
        results[item.name], outcome = _one(item, key, results, at)
        told(outcome)
    return results


def _one(item: Step, key: str, results: Mapping[str, Any], at: Workshop) -> tuple[Any, StepRun]:
    started = time.perf_counter()
    if item.keep:
        try:
            with at.engine.connect() as conn:
                address = store.find(conn, key)
            if address:
                value = codec.load(at.objects.get(address))
                return value, StepRun(step=item.name, key=key, cached=True, seconds=0.0)
        except NotFound:
            pass  # its bytes were cleaned up since: make it again
    value = item.run(**{need: results[need] for need in item.needs})
    seconds = time.perf_counter() - started
    if item.keep:
        address = at.objects.put(codec.dump(value))
        with at.engine.begin() as conn:
            store.remember(
                conn,
                key,
                step=item.name,
                address=address,
                seconds=seconds,
                at=at.clock.now(),
            )
    return value, StepRun(step=item.name, key=key, cached=False, seconds=seconds)


def _is_needed(name: str, plan: list[Step]) -> bool:
    return any(name in item.needs for item in plan)
