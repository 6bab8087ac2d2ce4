import itertools
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.charts.draw import WIDTHS, draw, spread
from setpoint.charts.figure import Area, Figure, Lane, Line, Panel, Rule, Span, Zone
from setpoint.charts.lineage import Node, lineage
from setpoint.charts.palette import standalone
from setpoint.charts.reliability import reliability
from setpoint.charts.small import Arm, Stage, histogram_pair, intervals, sparkline, track

_ANY = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))
_WORDS = st.text(max_size=30)
_GEOMETRY = {
    "x",
    "y",
    "x1",
    "x2",
    "y1",
    "y2",
    "cx",
    "cy",
    "r",
    "width",
    "height",
    "d",
    "points",
}


def _check(svg: str) -> ET.Element:
    """Every picture is well-formed, named, and holds finite geometry only."""
    root = ET.fromstring(svg)  # noqa: S314 - our own output
    for element in root.iter():
        for name, value in element.attrib.items():
            if name in _GEOMETRY:
                assert not re.search(r"nan|inf", value, re.IGNORECASE), (name, value)
                if name in {"width", "height", "r"}:
                    assert float(value) >= 0
    assert next(root.iter("{http://www.w3.org/2000/svg}title")).text is not None
    assert root.attrib["role"] in {"img", "group"}
    return root


@st.composite
def _panels(draw_: st.DrawFn) -> Panel:
    count = draw_(st.integers(0, 6))
    xs = sorted(draw_(st.lists(st.floats(0, 2e9), min_size=count, max_size=count)))
    values = st.lists(_ANY, min_size=count, max_size=count)
    line = Line(label=draw_(_WORDS), xs=xs, ys=draw_(values), low=draw_(values), high=draw_(values))
    areas = [Area(label=f"v{i}", xs=xs, ys=draw_(values), color=f"c{i}") for i in range(2)]
    return Panel(
        title=draw_(_WORDS),
        lines=[line],
        areas=draw_(st.sampled_from([[], areas])),
        zones=[Zone(low=draw_(_ANY))],
        rules=[Rule(value=draw_(st.floats()), text=draw_(_WORDS))],
        scale=draw_(st.sampled_from(["number", "percent", "log"])),
    )


@settings(max_examples=150, deadline=None)
@given(
    st.lists(_panels(), max_size=3),
    st.sampled_from(["time", "number"]),
    st.sampled_from(list(WIDTHS.values())),
)
def test_whatever_the_data_the_picture_is_sound(panels: list[Panel], kind: str, width: int) -> None:
    figure = Figure(title="t", summary="s", panels=panels, x=kind)  # type: ignore[arg-type]
    _check(draw(figure, width))


@settings(max_examples=100, deadline=None)
@given(st.lists(_ANY, max_size=9), _ANY)
def test_small_pictures_are_sound(values: list[float | None], bound: float | None) -> None:
    _check(sparkline(values, title="t", low=bound))
    numbers = [v for v in values if v is not None]
    _check(histogram_pair([f"b{i}" for i in range(3)], numbers, numbers[::-1], title="t"))
    arms = [Arm(name=f"v{i}", value=v, low=None, high=v, color="c0") for i, v in enumerate(numbers)]
    _check(intervals(arms, title="t"))
    _check(draw(reliability(numbers, values, title="t", color="c0"), 358))


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 2e9), _ANY, _WORDS)
def test_lanes_are_sound(start: float, end: float | None, words: str) -> None:
    usable = end if end is not None and abs(end) < 1e12 else None
    span = Span(start=start, end=usable, text=words, title=words, color="c1", href="/x?a=1&b=2")
    lanes = [Lane(title="Live", spans=[span, span])]
    _check(draw(Figure(title="t", summary="", panels=[Panel(title="p")], lanes=lanes)))


def test_a_gap_in_the_data_is_a_gap_in_the_line() -> None:
    line = Line(label="a", xs=[0, 1, 2, 3, 4], ys=[1, 2, None, 3, 4])
    figure = Figure(title="t", summary="", panels=[Panel(title="p", lines=[line])], x="number")
    assert draw(figure).count('class="line accent"') == 2


def test_an_empty_panel_says_so() -> None:
    svg = draw(Figure(title="t", summary="", panels=[Panel(title="p", empty="no labels yet")]))
    assert "no labels yet" in svg


@given(st.lists(st.floats(0, 300), max_size=8))
def test_labels_never_meet(wanted: list[float]) -> None:
    places = spread(sorted(wanted), 0, 300)
    assert all(b - a >= 13 - 1e-9 for a, b in itertools.pairwise(places))


def test_text_is_escaped() -> None:
    svg = sparkline([1.0], title='<script>"&')
    assert "<script>" not in svg
    _check(svg)


@pytest.mark.parametrize("stages", [0, 1, 6])
def test_a_track_shows_each_stage(stages: int) -> None:
    svg = track([Stage(name=f"s{i}", state="now") for i in range(stages)], title="t")
    assert svg.count("halo") == stages


def test_a_lineage_links_its_boxes() -> None:
    nodes = [
        Node(key="d", column=0, kind="dataset", name="flights 12", href="/data/flights"),
        Node(key="r", column=1, kind="run", name="run_1"),
    ]
    root = _check(lineage(nodes, [("d", "r"), ("d", "missing")], title="t"))
    assert len([e for e in root.iter() if e.get("class") == "edge"]) == 1


def test_a_saved_picture_carries_its_style() -> None:
    saved = standalone(sparkline([1, 2], title="t"))
    assert "<style>" in saved
    _check(saved)
