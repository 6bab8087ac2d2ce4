"""What the annotations of the spec's structs say, for the reader, schema and explain."""

from collections.abc import Iterator
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Struct

from setpoint.control.spec.fields import Doc, Kind
from setpoint.control.spec.units import Amount, Rate


class Shape(Struct, frozen=True, kw_only=True):
    """One type, taken apart."""

    base: Any  #: the bare type, or ``tuple``, ``dict``, ``Literal``
    kind: Kind | None = None
    item: "Shape | None" = None  #: of a tuple, or of a dict whose keys are any names
    choices: tuple[str, ...] = ()  #: of a Literal
    variants: tuple["Shape", ...] = ()  #: of a union, None left out

    @property
    def is_group(self) -> bool:
        """Whether it is a group of keys that we know."""
        is_class = isinstance(self.base, type) and issubclass(self.base, Struct)
        return is_class and self.base not in (Rate, Amount)


class Key(Struct, frozen=True, kw_only=True):
    """One key of a group."""

    name: str  #: as written in a spec
    attribute: str  #: of the struct
    shape: Shape
    doc: Doc
    required: bool
    default: Any = None


def shape_of(annotation: Any) -> Shape:
    """Take a type annotation apart."""
    kind: Kind | None = None
    if get_origin(annotation) is Annotated:
        annotation, *extras = get_args(annotation)
        kind = next((extra for extra in extras if isinstance(extra, Kind)), None)
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        variants = tuple(shape_of(arg) for arg in args if arg is not NoneType)
        return variants[0] if len(variants) == 1 else Shape(base=Union, variants=variants)
    if origin is Literal:
        return Shape(base=Literal, choices=args)
    if origin is dict and kind is None:
        return Shape(base=dict, item=shape_of(args[1]))
    if origin is tuple:
        return Shape(base=tuple, item=shape_of(args[0]))
    return Shape(base=origin or annotation, kind=kind)


@cache
def keys(struct: type[Struct]) -> tuple[Key, ...]:
    """Return the keys of a group, in the order of its fields."""
    found = []
    for info in msgspec.structs.fields(struct):
        extras = get_args(info.type)[1:]
        found.append(
            Key(
                name=info.encode_name,
                attribute=info.name,
                shape=shape_of(info.type),
                doc=next(extra for extra in extras if isinstance(extra, Doc)),
                required=info.required,
                default=None if info.required else _default(info),
            )
        )
    return tuple(found)


def _default(info: Any) -> Any:
    factory = info.default_factory
    return info.default if factory is msgspec.NODEFAULT else factory()


def short_key(struct: type[Struct]) -> str | None:
    """Return the key that a bare value stands for, if the group has such a key."""
    return getattr(struct, "SHORT", None)


def homes(struct: type[Struct], name: str, at: str = "") -> Iterator[str]:
    """Yield the groups of the spec in which there is a key `name`."""
    for key in keys(struct):
        if key.name == name:
            yield at
        if key.shape.is_group:
            yield from homes(key.shape.base, name, f"{at}.{key.name}".lstrip("."))
