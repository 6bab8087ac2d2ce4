"""Figures of other libraries: kept as they draw best, and never imported here."""

import io
from typing import Any

from setpoint.sdk.media.base import Drawn


class Matplotlib:
    """A figure of matplotlib, as a PNG of 150 dots an inch."""

    def __init__(self, figure: Any) -> None:
        self._figure = figure

    def drawn(self) -> Drawn:
        buffer = io.BytesIO()
        self._figure.savefig(buffer, format="png", dpi=150, bbox_inches="tight")
        return Drawn(
            type="figure", fields={"format": "png"}, suffix=".png", content=buffer.getvalue()
        )


class Plotly:
    """A figure of plotly, as its JSON: data and layout."""

    def __init__(self, figure: Any) -> None:
        self._figure = figure

    def drawn(self) -> Drawn:
        content = self._figure.to_json().encode()
        return Drawn(
            type="figure", fields={"format": "plotly"}, suffix=".plotly.json", content=content
        )


class Altair:
    """A chart of Altair, as the Vega-Lite specification that it is."""

    def __init__(self, chart: Any) -> None:
        self._chart = chart

    def drawn(self) -> Drawn:
        content = self._chart.to_json(indent=None).encode()
        return Drawn(
            type="figure", fields={"format": "vega-lite"}, suffix=".vl.json", content=content
        )
