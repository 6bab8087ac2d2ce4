"""Scores and labels of a window together: quality at any threshold, by merging.

Keyed by *prediction* time: a label that arrives days later is added to the window in which
the question was asked. Score sums are kept in units of 2^-32, so that all of it is integers
and adding is exact in any order.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from setpoint.errors import Invalid
from setpoint.profiles.packing import Packed, pack, unpack
from setpoint.profiles.values import Floats, Ints, numbers

if TYPE_CHECKING:
    from setpoint.profiles.reference import Reference

_UNIT = float(2**32)
#: upper ends of the bins of label delay, in hours; the last bin is open
DELAYS = (0.25, 0.5, 1, 2, 3, 4, 6, 8, 12, 24, 48, 96, 168, 336, 720)

PREDICTED, NEGATIVE, POSITIVE = range(3)


@dataclass(frozen=True, slots=True, eq=False)
class Joint:
    """Counts by score bin, of all predictions and of those labelled 0 and 1.

    The bins are those of the reference's score column. Thresholds that are a multiple of
    0.01 are exact; others are met to within a bin.
    """

    edges: str
    counts: Ints  #: 3 × bins: predicted, negative, positive
    sums: Ints  #: 3 × bins: sum of scores in units of 2^-32
    delays: Ints  #: labels by delay, see `DELAYS`

    def __add__(self, other: "Joint") -> "Joint":
        """Return both windows' predictions and labels.

        Raises:
            Invalid: If the two were binned by different edges.
        """
        self._match(other)
        return Joint(
            self.edges,
            self.counts + other.counts,
            self.sums + other.sums,
            self.delays + other.delays,
        )

    def __sub__(self, other: "Joint") -> "Joint":
        """Return this without the rows of `other`: erasure, or a corrected label.

        Raises:
            Invalid: If the edges differ, or `other` has rows that this never had.
        """
        self._match(other)
        counts = self.counts - other.counts
        if (counts < 0).any():
            raise Invalid("these predictions were never part of this window")
        return Joint(self.edges, counts, self.sums - other.sums, self.delays - other.delays)

    @property
    def predicted(self) -> int:
        """Predictions, labelled or not."""
        return int(self.counts[PREDICTED].sum())

    @property
    def labelled(self) -> int:
        """Predictions whose label is known."""
        return int(self.counts[NEGATIVE:].sum())

    @property
    def coverage(self) -> float:
        """Share of predictions whose label is known."""
        return self.labelled / self.predicted if self.predicted else 0.0

    @property
    def negatives(self) -> int:
        return int(self.counts[NEGATIVE].sum())

    @property
    def positives(self) -> int:
        return int(self.counts[POSITIVE].sum())

    def delay(self, share: float = 0.5) -> float | None:
        """Return the hours by which `share` of the labels had come (upper end of a bin)."""
        total = int(self.delays.sum())
        if not total:
            return None
        at = int(np.searchsorted(np.cumsum(self.delays), share * total))
        return float(DELAYS[at]) if at < len(DELAYS) else float("inf")

    def encode(self) -> bytes:
        """Return compact bytes."""
        return _ENCODER.encode(
            (
                1,
                self.edges,
                pack(self.counts.ravel()),
                pack(self.sums.ravel()),
                pack(self.delays),
            )
        )

    def _match(self, other: "Joint") -> None:
        if self.edges != other.edges:
            raise Invalid(
                f"score histograms with edges {self.edges} and {other.edges} can't be combined",
                hint="bin the scores of one version by its own reference",
            )


_Wire = tuple[int, str, Packed, Packed, Packed]
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Wire)


def decode_joint(data: bytes) -> Joint:
    """Return what `Joint.encode` wrote.

    Raises:
        Invalid: If the bytes are no joint histogram.
    """
    try:
        _, edges, counts, sums, delays = _DECODER.decode(data)
    except msgspec.MsgspecError as error:
        raise Invalid("these bytes are no score histogram", where=str(error)) from None
    return Joint(edges, unpack(counts).reshape(3, -1), unpack(sums).reshape(3, -1), unpack(delays))


def predicted(scores: Any, reference: "Reference") -> Joint:
    """Return the histogram of scores just answered; labels are added when they come."""
    bins, units = _binned(scores, reference)
    result = _empty(reference)
    result.counts[PREDICTED] = np.bincount(bins, minlength=result.counts.shape[1])
    np.add.at(result.sums[PREDICTED], bins, units)
    return result


def labelled(scores: Any, labels: Any, reference: "Reference", *, delays: Any = None) -> Joint:
    """Return the histogram of labels: add it to the window of their predictions.

    With the reference's own held-out rows, where nothing was predicted before, the
    predictions are counted as well by adding `predicted`.

    Args:
        scores: What was answered, probabilities.
        labels: The truth: 0 or 1 (anything above 0.5 is 1); NaN and null are no label.
        reference: Of the version that answered.
        delays: Seconds from prediction to label, one a label, if known.

    Raises:
        Invalid: If the lengths differ.
    """
    if len(scores) != len(labels):
        raise Invalid(f"{len(labels)} labels for {len(scores)} scores")
    truth = _truth(labels)
    bins, units = _binned(scores, reference)
    known = ~np.isnan(truth)
    result = _empty(reference)
    row = np.where(truth > 0.5, POSITIVE, NEGATIVE)[known]
    np.add.at(result.counts, (row, bins[known]), 1)
    np.add.at(result.sums, (row, bins[known]), units[known])
    if delays is not None:
        hours = np.asarray(delays, dtype=np.float64)[known] / 3600
        at = np.searchsorted(DELAYS, hours)
        result.delays[:] = np.bincount(at, minlength=len(DELAYS) + 1)
    return result


def _truth(labels: Any) -> Floats:
    if hasattr(labels, "null_count"):
        labels = labels.to_list()
    return np.array(labels, dtype=np.float64)


def _binned(scores: Any, reference: "Reference") -> tuple[NDArray[np.intp], Ints]:
    cuts = _cuts(reference)
    values = np.asarray(numbers(scores).values)
    if len(values) != len(scores):  # nulls are no score: NaN has a bin of its own
        values = np.array([np.nan if s is None else s for s in scores], dtype=np.float64)
    usable = np.where(np.isfinite(values), np.clip(values, 0, 1), 0)
    units = np.rint(usable * _UNIT).astype(np.int64)
    return cuts.searchsorted(values, side="right"), units


def _cuts(reference: "Reference") -> Floats:
    cuts = reference.score_cuts
    if cuts is None:
        raise Invalid(
            "the reference has no scores",
            hint="build it with scores=… so that quality can be watched",
        )
    return cuts


def _empty(reference: "Reference") -> Joint:
    bins = len(_cuts(reference)) + 1
    return Joint(
        reference.id,
        np.zeros((3, bins), dtype=np.int64),
        np.zeros((3, bins), dtype=np.int64),
        np.zeros(len(DELAYS) + 1, dtype=np.int64),
    )


def finite(joint: Joint) -> tuple[Floats, Floats]:
    """Return counts and mean scores of the bins of finite scores: 3 × bins each."""
    counts = joint.counts[:, 1:-2].astype(np.float64)
    sums = joint.sums[:, 1:-2] / _UNIT
    return counts, sums / np.maximum(counts, 1)
