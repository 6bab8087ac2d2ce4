"""How a run shows itself in a notebook: as it is, and live while it goes on."""

import html as escaping
import importlib
import math
import threading
from collections.abc import Sequence
from typing import Any

from setpoint.errors import SetpointError
from setpoint.runs import service
from setpoint.runs.commands import Curve
from setpoint.sdk.tracked import Tracked

_CURVES = 24  #: metrics that are drawn
_POINTS = 80  #: of each
_WIDTH, _HEIGHT = 160.0, 28.0  #: pixels of a curve
_SECONDS = 2.0  #: between updates


def display(tracked: Tracked) -> None:
    """Show a run in the cell that is executed, anew every two seconds until it is over."""
    shown = importlib.import_module("IPython.display")
    handle = shown.display(shown.HTML(html(tracked)), display_id=True)
    if handle is not None and not tracked.over:
        update = threading.Thread(
            target=_live, args=(tracked, handle, shown.HTML), name="setpoint-display", daemon=True
        )
        update.start()


def html(tracked: Tracked) -> str:
    """Return a table of the run's params and of its metrics, with their curves."""
    try:
        run = tracked.show()
        names = [name for name in run.metrics if not name.startswith("system/")][:_CURVES]
        with tracked.asking() as backend:
            curves = {
                name: backend.call(
                    service.points, Curve(run=run.id, metric=name, at_most=_POINTS)
                ).points
                for name in names
            }
    except SetpointError as error:
        return f"<p>{escaping.escape(f'{tracked.experiment}: {tracked.id}: {error.message}')}</p>"
    rows = [_row(name, str(value), "") for name, value in run.params.items()]
    for name in names:
        line = _line([point.value for point in curves[name]], name)
        rows.append(_row(name, f"{run.metrics[name]:.6g}", line))
    head = escaping.escape(f"{run.experiment}: {run.id}, {run.status}")
    return f"<table><caption>{head}</caption>{''.join(rows)}</table>"


def _live(tracked: Tracked, handle: Any, page: Any) -> None:
    while not tracked.wait(_SECONDS):
        handle.update(page(html(tracked)))
    handle.update(page(html(tracked)))


def _row(name: str, value: str, line: str) -> str:
    cells = f"<td>{escaping.escape(name)}</td><td>{escaping.escape(value)}</td>"
    return f"<tr>{cells}<td>{line}</td></tr>"


def _line(values: Sequence[float], title: str) -> str:
    """Return a curve in the colour of the text; what is not finite is a gap."""
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return ""
    low, high = min(finite), max(finite)
    scale = (_HEIGHT - 4) / (high - low) if math.isfinite(high - low) and high > low else 0.0
    parts, pen = [], "M"
    for i, value in enumerate(values):
        if math.isfinite(value):
            x = i * _WIDTH / max(len(values) - 1, 1)
            parts.append(f"{pen}{x:.1f} {_HEIGHT - 2 - (value - low) * scale:.1f}")
        pen = "L" if math.isfinite(value) else "M"
    said = escaping.escape(f"{title}: {low:.6g} to {high:.6g}")
    return (
        f'<svg width="{_WIDTH:.0f}" height="{_HEIGHT:.0f}" role="img"><title>{said}</title>'
        f'<path d="{"".join(parts)}" fill="none" stroke="currentColor"/></svg>'
    )
