"""SVG as text. Colours and fonts come from classes, so a page's theme restyles a chart."""

import math
from xml.sax.saxutils import escape, quoteattr

#: Width of one character of 11 px system text, in px: an upper bound for figures and
#: lower case. Labels are placed by this estimate, so that no font has to be measured.
CHARACTER = 6.2


def el(name: str, /, *children: str, **attributes: object) -> str:
    """Return ``<name …>children</name>``.

    Attributes: a trailing underscore is dropped (``class_``), others become hyphens,
    None is left out, floats keep two decimals. Children are markup: wrap text in `text`.

    Raises:
        ValueError: If a number is not finite; a chart must drop such points before.
    """
    parts = [
        f" {key.rstrip('_').replace('_', '-')}={quoteattr(_value(value))}"
        for key, value in attributes.items()
        if value is not None
    ]
    if not children:
        return f"<{name}{''.join(parts)}/>"
    return f"<{name}{''.join(parts)}>{''.join(children)}</{name}>"


def text(value: str) -> str:
    """Return `value` escaped, without the control characters that XML cannot hold."""
    return escape("".join(c for c in value if c >= " " or c in "\t\n"))


def label(value: str, *, x: float, y: float, class_: str, anchor: str = "start") -> str:
    """Return one line of text; `y` is its baseline."""
    return el("text", text(value), x=x, y=y, class_=class_, text_anchor=anchor)


def box(
    left: float, top: float, right: float, bottom: float, class_: str, rx: float | None = None
) -> str:
    """Return a rectangle by its edges; turned inside out it has no extent."""
    return el(
        "rect",
        x=left,
        y=top,
        width=max(right - left, 0.0),
        height=max(bottom - top, 0.0),
        rx=rx,
        class_=class_,
    )


def width_of(value: str) -> float:
    """Estimate the width of `value` in 11 px text, in px."""
    return CHARACTER * len(value)


def path(points: list[tuple[float, float]]) -> str:
    """Return path data that joins `points` by straight lines."""
    return "M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in points) if points else ""


def fit(value: str, width: float) -> str:
    """Return `value`, cut with an ellipsis if it is wider than `width` px."""
    room = max(int(width / CHARACTER), 1)
    return value if len(value) <= room else f"{value[: room - 1].rstrip()}…"


def document(
    *children: str,
    width: float,
    height: float,
    title: str,
    summary: str,
    class_: str = "",
    **data: object,
) -> str:
    """Return a whole picture, named by `title` and described by `summary`.

    `data` become ``data-…`` attributes, for scripts that read values off the picture.
    """
    return el(
        "svg",
        el("title", text(title)),
        el("desc", text(summary)),
        *children,
        xmlns="http://www.w3.org/2000/svg",
        class_=f"sp-chart {class_}".strip(),
        # A picture that can be entered is no image: what is in it must stay reachable.
        role="group" if any("<a " in child for child in children) else "img",
        aria_label=f"{title}. {summary}" if summary else title,
        viewBox=f"0 0 {_number(width)} {_number(height)}",
        width=width,
        height=height,
        **{f"data_{key}": value for key, value in data.items()},
    )


def _value(value: object) -> str:
    return _number(value) if isinstance(value, float) else str(value)


def _number(value: float) -> str:
    if not math.isfinite(value):
        msg = f"{value} cannot be drawn"
        raise ValueError(msg)
    plain = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if plain == "-0" else plain
