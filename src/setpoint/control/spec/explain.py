"""Every key of a spec with its value, whether it is the default, and what it means."""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from setpoint.control.spec import shapes
from setpoint.control.spec.entities import Slices, Spec
from setpoint.control.spec.fields import Kind
from setpoint.control.spec.graphs import GraphSpec
from setpoint.control.spec.parse import plain
from setpoint.control.spec.shapes import Key, Shape
from setpoint.control.spec.units import format_percent, format_size

UNSET = "not set"


class Explained(Struct, frozen=True, kw_only=True):
    """One key of a spec."""

    path: str  #: such as ``release.canary.steps``
    value: str  #: as one would write it
    default: bool  #: whether this is what it would be without the key
    meaning: str
    consequence: str = ""


class Change(Struct, frozen=True, kw_only=True):
    """One key that differs between two specs."""

    path: str
    before: str
    after: str


def explain(spec: Spec | GraphSpec) -> list[Explained]:
    """Return every key of a spec, in the order of the reference.

    A group that is not set (as ``guardrails.slices`` often is) is one line. Of groups with names
    of one's own, the nodes of a graph, keys that are not set are left out.
    """
    return list(_group(spec, spec if isinstance(spec, GraphSpec) else _open(spec), ""))


def changes(before: Spec | GraphSpec, after: Spec | GraphSpec) -> list[Change]:
    """Return the keys whose values differ between two specs, in order."""
    old = {row.path: row.value for row in explain(before)}
    new = {row.path: row.value for row in explain(after)}
    paths = list(new) + [path for path in old if path not in new]
    return [
        Change(path=path, before=old.get(path, UNSET), after=new.get(path, UNSET))
        for path in paths
        if old.get(path, UNSET) != new.get(path, UNSET)
    ]


def _open(spec: Spec) -> Spec:
    """Return the spec with the defaults that depend on other keys settled anew."""
    return replace(
        spec,
        data=replace(spec.data, rows=""),
        train=replace(spec.train, split=replace(spec.train.split, by=None)),
        objective=replace(spec.objective, better_than=None),
    )


def _group(group: Struct, settled: Struct, at: str) -> Iterator[Explained]:
    for key in shapes.keys(type(group)):
        path = f"{at}.{key.name}".lstrip(".")
        value = getattr(group, key.attribute)
        if value is None and isinstance(group, Slices):
            continue  # one key a metric: those that are set say it all
        if key.shape.is_group and value is not None:
            yield from _group(value, getattr(settled, key.attribute), path)
        elif key.shape.item is not None and key.shape.item.is_group and isinstance(value, dict):
            for name, each in value.items():
                rows = _group(each, type(each)(), f"{path}.{name}")
                yield from (row for row in rows if not row.default)
        else:
            yield Explained(
                path=path,
                value=shown(value, key.shape),
                default=value == _default(key, path, settled),
                meaning=key.doc.meaning,
                consequence=key.doc.consequence,
            )


def _default(key: Key, path: str, settled: Struct) -> Any:
    if path in {"data.rows", "train.split.by", "objective.better_than"}:
        return getattr(settled, key.attribute)
    return key.default if not key.required else ...


def shown(value: object, shape: Shape) -> str:
    """Write a value as one would in a setpoint file."""
    if value is None:
        return UNSET
    if isinstance(value, tuple) and shape.variants:
        shape = next(variant for variant in shape.variants if variant.item is not None)
    if isinstance(value, tuple) and shape.item is not None:
        return "[" + ", ".join(shown(item, shape.item) for item in value) + "]"
    if isinstance(value, float):
        kinds = {shape.kind, *(variant.kind for variant in shape.variants)}
        is_share = bool(kinds & {Kind.PERCENT, Kind.GROWTH})
        return format_percent(value) if is_share else f"{value:.12g}"
    if shape.kind is Kind.SIZE and isinstance(value, int):
        return format_size(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {item}" for name, item in value.items()) + "}"
    return str(plain(value)) or "''"
