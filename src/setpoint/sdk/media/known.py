"""Recognising what other libraries draw, without importing them."""

from collections.abc import Callable
from typing import Any

from setpoint.sdk.media.base import Media
from setpoint.sdk.media.figure import Altair, Matplotlib, Plotly
from setpoint.sdk.media.image import Image
from setpoint.sdk.media.table import Table

_BY_CLASS: dict[tuple[str, str], Callable[[Any], Media]] = {
    ("matplotlib", "Figure"): Matplotlib,
    ("plotly", "Figure"): Plotly,
    ("altair", "TopLevelMixin"): Altair,
    ("PIL", "Image"): Image,
    ("pandas", "DataFrame"): Table,
    ("polars", "DataFrame"): Table,
}


def media_of(value: object) -> Media | None:
    """Return a value as something to draw; None if it is nothing of the kind.

    Figures of matplotlib, plotly and Altair, pictures of Pillow and frames of pandas and
    Polars can be logged as they are.
    """
    if isinstance(value, Media):
        return value
    for cls in type(value).__mro__:
        make = _BY_CLASS.get((cls.__module__.partition(".")[0], cls.__name__))
        if make is not None:
            return make(value)
    return None
