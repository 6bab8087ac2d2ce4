"""Calibration: how often it happened, against how likely it was said to be."""

import math
from collections.abc import Sequence

from setpoint.charts.figure import Figure, Line, Panel

_DIAGONAL = (0.0, 1.0)


def reliability(
    predicted: Sequence[float], observed: Sequence[float | None], *, title: str, color: str
) -> Figure:
    """Return mean label against mean score per bin, beside a true forecast's diagonal."""
    pairs = [
        (p, o)
        for p, o in zip(predicted, observed, strict=False)
        if o is not None and math.isfinite(o) and math.isfinite(p)
    ]
    gap = sum(abs(p - o) for p, o in pairs) / len(pairs) if pairs else 0.0
    return Figure(
        title=title,
        summary=f"mean gap to the diagonal {gap:.3f} over {len(pairs)} bins",
        x="number",
        x_title="predicted probability",
        start=0.0,
        end=1.0,
        panels=[
            Panel(
                title="observed share",
                low=0.0,
                high=1.0,
                height=220,
                lines=[
                    Line(label="", xs=_DIAGONAL, ys=_DIAGONAL, color="muted", dashed=True),
                    Line(label="observed", xs=predicted, ys=observed, color=color, dots=True),
                ],
            )
        ],
    )
