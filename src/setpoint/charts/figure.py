"""What a chart says: panels stacked on one shared x axis. `draw` makes it a picture."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

Scale = Literal["number", "percent", "log"]
Kind = Literal["time", "number"]


class Line(Struct, frozen=True, kw_only=True):
    """Values over x; a None or a non-finite value is a gap, never a zero."""

    label: str  #: written beside it; empty where the lanes above say it
    name: str = ""  #: what it is called when values are read off; the label if empty
    xs: Sequence[float]  #: seconds since 1970 on a time axis
    ys: Sequence[float | None]
    color: str = "accent"  #: a class of `palette`
    low: Sequence[float | None] | None = None  #: interval around `ys`
    high: Sequence[float | None] | None = None
    dashed: bool = False
    faint: bool = False
    dots: bool = False


class Area(Struct, frozen=True, kw_only=True):
    """One layer of a stack; layers of a panel share the same xs."""

    label: str
    name: str = ""
    xs: Sequence[float]
    ys: Sequence[float | None]
    color: str


class Zone(Struct, frozen=True, kw_only=True):
    """The values that are on target; None leaves a side open."""

    low: float | None = None
    high: float | None = None


class Rule(Struct, frozen=True, kw_only=True):
    """A named value: a bound to hold, a limit that decides, or a plain reference."""

    value: float
    text: str
    kind: Literal["bound", "limit", "rule"] = "bound"


class Panel(Struct, frozen=True, kw_only=True):
    """One y axis. With `scale` log, values are positive and drawn by their log10."""

    title: str
    lines: Sequence[Line] = ()
    areas: Sequence[Area] = ()
    zones: Sequence[Zone] = ()
    rules: Sequence[Rule] = ()
    scale: Scale = "number"
    low: float | None = None  #: fixed lower end; taken from the data where None
    high: float | None = None
    height: float = 120
    empty: str = "no data yet"


class Span(Struct, frozen=True, kw_only=True):
    """Something that lasted, on a lane: a version live, a release, an alarm."""

    start: float
    end: float | None  #: None: it still lasts
    text: str
    title: str  #: said on hover and to screen readers
    color: str
    href: str = ""
    shape: Literal["bar", "flag"] = "bar"
    mark: Literal["", "promoted", "rolled_back", "held"] = ""


class Lane(Struct, frozen=True, kw_only=True):
    """One row of spans above the panels."""

    title: str
    spans: Sequence[Span]


class Figure(Struct, frozen=True, kw_only=True):
    """Lanes and panels on one shared x axis."""

    title: str
    summary: str  #: what a reader would say the picture shows
    panels: Sequence[Panel]
    lanes: Sequence[Lane] = ()
    x: Kind = "time"
    x_title: str = ""
    start: float | None = None
    end: float | None = None
    verticals: Sequence[float] = ()  #: hairlines through all panels
