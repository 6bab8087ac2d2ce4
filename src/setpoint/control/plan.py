"""What applying a spec would change: its keys, what follows, and what was done by hand."""

from typing import Any

import msgspec
from msgspec import Struct


class Change(Struct, frozen=True, kw_only=True):
    """One key whose value differs between the spec in force and the file."""

    path: str  #: ``release.canary.steps``
    was: Any
    now: Any


class ModelPlan(Struct, frozen=True, kw_only=True):
    """What `apply` does with one model."""

    model: str
    file: str
    kind: str  #: ``create``, ``update`` or ``unchanged``
    changes: list[Change]
    actions: list[str]  #: what follows, in words and in order
    drift: list[str]  #: what was changed by hand, outside the spec


class Plan(Struct, frozen=True, kw_only=True):
    models: list[ModelPlan]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return all(m.kind == "unchanged" and not m.actions for m in self.models)


_MISSING: Any = object()


def compare(was: Any, now: Any, path: str = "") -> list[Change]:
    """Return the keys in which two canonical specs differ, in order of their paths.

    Example:
        >>> [c.path for c in compare({"a": {"b": 1}}, {"a": {"b": 2}, "c": 3})]
        ['a.b', 'c']
    """
    if isinstance(was, dict) and isinstance(now, dict):
        found = []
        for key in sorted(was.keys() | now.keys()):
            inner = f"{path}.{key}" if path else str(key)
            found += compare(was.get(key, _MISSING), now.get(key, _MISSING), inner)
        return found
    if was is _MISSING and isinstance(now, dict) and now:
        return [change for key in sorted(now) for change in compare(_MISSING, now[key], f"{path}.{key}")]
    if was == now:
        return []
    return [Change(path=path, was=_plain(was), now=_plain(now))]


def _plain(value: Any) -> Any:
    return None if value is _MISSING else msgspec.to_builtins(value)
