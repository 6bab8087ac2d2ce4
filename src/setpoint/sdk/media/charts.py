"""Charts made of predictions: kept as numbers, drawn by the pages.

What is wrong with the data is found when a chart is drawn, by `log`, which warns: making
one never fails.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from setpoint.errors import Invalid
from setpoint.sdk.media.base import Drawn

_POINTS = 500  #: of a curve; a longer one is thinned evenly along its length
_LABELS = 200
Floats = NDArray[np.float64]


class Histogram:
    """How values are distributed, over `bins` intervals of the same width.

    NaN and infinities are counted apart.

    Example:
        >>> Histogram([1, 2, 2, 4], bins=3).drawn().fields["counts"]
        [1, 2, 1]
    """

    def __init__(self, values: Any, *, bins: int = 64) -> None:
        self._values = values
        self._bins = bins

    def drawn(self) -> Drawn:
        data = self._values.detach().cpu() if hasattr(self._values, "detach") else self._values
        array = np.asarray(data, dtype=float).ravel()
        finite = array[np.isfinite(array)]
        if not 1 <= self._bins <= 1_000:
            raise Invalid(f"a histogram of {self._bins} bins", hint="1 to 1,000")
        counts, edges = np.histogram(finite, bins=self._bins)
        fields = {
            "edges": edges.tolist() if finite.size else [],
            "counts": counts.tolist() if finite.size else [],
            "not_finite": int(array.size - finite.size),
        }
        return Drawn(type="histogram", fields=fields)


class ConfusionMatrix:
    """How often each class was taken for each: rows are the truth, columns the prediction.

    Args:
        truth: Classes as they are.
        predicted: Classes as they were predicted, as many.
        labels: Their order; by default sorted.

    Example:
        >>> ConfusionMatrix([0, 0, 1], [0, 1, 1]).drawn().fields["counts"]
        [[1, 1], [0, 1]]
    """

    def __init__(
        self, truth: ArrayLike, predicted: ArrayLike, *, labels: Sequence[Any] | None = None
    ) -> None:
        self._truth, self._predicted, self._labels = truth, predicted, labels

    def drawn(self) -> Drawn:
        true, guess = np.asarray(self._truth).ravel(), np.asarray(self._predicted).ravel()
        if len(true) != len(guess):
            raise Invalid(f"{len(true):,} true classes and {len(guess):,} predicted ones")
        pairs, times = np.unique(np.stack([true, guess]), axis=1, return_counts=True)
        seen = set(pairs.ravel().tolist())
        labels = sorted(seen) if self._labels is None else list(self._labels)
        if len(labels) > _LABELS:
            raise Invalid(f"a matrix of {len(labels):,} classes", hint=f"at most {_LABELS}")
        if not seen <= set(labels):
            raise Invalid(f"class {min(seen - set(labels))!r} is not in the labels")
        place = {label: i for i, label in enumerate(labels)}
        counts = np.zeros((len(labels), len(labels)), dtype=int)
        for one, other, count in zip(*pairs.tolist(), times.tolist(), strict=True):
            counts[place[one], place[other]] = count
        fields = {"labels": [str(label) for label in labels], "counts": counts.tolist()}
        return Drawn(type="confusion", fields=fields)


class RocCurve:
    """The receiver operating characteristic: true against false positive rate.

    Args:
        truth: 0 and 1, or booleans.
        scores: As many; higher means 1. Several by name are drawn in one chart.
    """

    def __init__(self, truth: ArrayLike, scores: ArrayLike | Mapping[str, ArrayLike]) -> None:
        self._truth, self._scores = truth, scores

    def drawn(self) -> Drawn:
        curves = []
        for name, scores in _named(self._scores):
            hits, misses = _ranked(self._truth, scores)
            x = np.concatenate([[0.0], misses / misses[-1]])
            y = np.concatenate([[0.0], hits / hits[-1]])
            curves.append(_curve(name, x, y, float(np.trapezoid(y, x))))
        axes = {"kind": "roc", "x": "false positive rate", "y": "true positive rate"}
        return Drawn(type="curves", fields={**axes, "curves": curves})


class PrecisionRecall:
    """Precision against recall; the area is the average precision.

    Arguments are those of `RocCurve`.
    """

    def __init__(self, truth: ArrayLike, scores: ArrayLike | Mapping[str, ArrayLike]) -> None:
        self._truth, self._scores = truth, scores

    def drawn(self) -> Drawn:
        curves = []
        for name, scores in _named(self._scores):
            hits, misses = _ranked(self._truth, scores)
            recall, precision = hits / hits[-1], hits / (hits + misses)
            area = float(np.sum(np.diff(recall, prepend=0.0) * precision))
            x, y = np.concatenate([[0.0], recall]), np.concatenate([[1.0], precision])
            curves.append(_curve(name, x, y, area))
        axes = {"kind": "pr", "x": "recall", "y": "precision"}
        return Drawn(type="curves", fields={**axes, "curves": curves})


def _named(scores: ArrayLike | Mapping[str, ArrayLike]) -> list[tuple[str, Any]]:
    return list(scores.items()) if isinstance(scores, Mapping) else [("", scores)]


def _ranked(truth: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    """Return hits and misses above each distinct score, from the highest."""
    true, score = np.asarray(truth).ravel(), np.asarray(scores, dtype=float).ravel()
    if len(true) != len(score):
        raise Invalid(f"{len(true):,} true values and {len(score):,} scores")
    if set(np.unique(true).tolist()) != {0, 1}:
        raise Invalid("the truth is not both 0 and 1", hint="one curve a class: truth == 'cat'")
    if np.isnan(score).any():
        raise Invalid("some scores are NaN")
    order = np.argsort(-score, kind="stable")
    positive = true.astype(bool)[order]
    last = np.append(np.diff(score[order]) != 0, True)
    hits, misses = np.cumsum(positive)[last], np.cumsum(~positive)[last]
    return hits.astype(float), misses.astype(float)


def _curve(name: str, x: Floats, y: Floats, area: float) -> dict[str, Any]:
    if len(x) > _POINTS:
        along = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
        picked = np.searchsorted(along, np.linspace(0, along[-1], _POINTS))
        keep = np.unique(np.clip(picked, 0, len(x) - 1))
        x, y = x[keep], y[keep]
    return {"name": name, "x": x.round(6).tolist(), "y": y.round(6).tolist(), "area": area}
