"""The graph of a pipeline, read off its functions' parameter names."""

import inspect
from collections.abc import Callable, Iterable
from graphlib import CycleError, TopologicalSorter
from typing import Any

from blake3 import blake3
from msgspec import Struct

from setpoint.errors import Invalid


class Step(Struct, frozen=True, kw_only=True):
    """One function of a pipeline; its result is what later steps ask for by its name."""

    name: str
    run: Callable[..., Any]
    needs: tuple[str, ...]  #: parameter names: other steps, or what the caller gives
    code: str  #: hash of what the function does; another hash, another result
    keep: bool  #: whether the result is stored, so that a crash resumes after this step


def step(
    run: Callable[..., Any], *, name: str | None = None, code: str = "", keep: bool = True
) -> Step:
    """Make a step of `run`.

    Args:
        run: A function of keyword parameters, each named after a step or a given value.
        name: What later steps call its result; the function's own name by default.
        code: Hash of everything the result depends on beside the arguments (such as the
            project's sources). The function's own source is always included.
        keep: Store the result. Leave it off for what is cheaper to make than to store.
    """
    needs = tuple(inspect.signature(run).parameters)
    source = blake3(f"{_source(run)}\0{code}".encode()).hexdigest()
    return Step(name=name or run.__name__, run=run, needs=needs, code=source, keep=keep)


def ordered(steps: Iterable[Step], given: Iterable[str]) -> list[Step]:
    """Return the steps in an order in which each comes after what it needs.

    Raises:
        Invalid: If a step needs what nobody makes, two share a name, or they form a cycle.
    """
    by_name: dict[str, Step] = {}
    available = set(given)
    for item in steps:
        if item.name in by_name or item.name in available:
            raise Invalid(f"two steps are named {item.name!r}", hint="rename one of them")
        by_name[item.name] = item
    available |= by_name.keys()
    for item in by_name.values():
        for need in item.needs:
            if need not in available:
                raise Invalid(
                    f"step {item.name!r} asks for {need!r}, which nothing makes",
                    hint=f"there is: {', '.join(sorted(available - {item.name}))}",
                )
    graph = {item.name: {n for n in item.needs if n in by_name} for item in by_name.values()}
    try:
        return [by_name[name] for name in TopologicalSorter(graph).static_order()]
    except CycleError as error:
        raise Invalid(f"steps form a cycle: {' → '.join(error.args[1])}") from None


def _source(run: Callable[..., Any]) -> str:
    try:
        return inspect.getsource(run)
    except (OSError, TypeError):  # built in, or typed at a prompt
        return run.__qualname__
