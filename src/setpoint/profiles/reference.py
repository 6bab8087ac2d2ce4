"""What windows are compared with: edges, counts, and how much windows vary by nature."""

import hashlib
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from setpoint.errors import Invalid
from setpoint.profiles.columns import (
    KNOWN,
    TOP,
    Column,
    Wire,
    numeric_cuts,
    score_cuts,
)
from setpoint.profiles.joint import Joint, decode_joint, labelled
from setpoint.profiles.profile import Profile, decode, summarise
from setpoint.profiles.values import (
    Floats,
    Ints,
    categories,
    columns_of,
    is_numeric,
    numbers,
)
from setpoint.profiles.variation import Variation, joined, nearest, variation

SCORE = "@score"  #: the column that holds the model's answers
HOUR, DAY, WEEK = 3_600, 86_400, 604_800


class Layout:
    """Where each column's bins lie in the counts of a profile."""

    score = SCORE

    def __init__(self, columns: list[Column]) -> None:
        self.columns = columns
        sizes = [column.size for column in columns]
        starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        self.offsets = [int(start) for start in starts[:-1]]
        self.size = int(starts[-1])
        placed = list(zip(columns, self.offsets, strict=True))
        self.numeric = [column for column, _ in placed if column.numeric]
        self.numeric_offsets = [offset for column, offset in placed if column.numeric]
        self.categorical = [column for column, _ in placed if not column.numeric]
        self.categorical_offsets = [at for column, at in placed if not column.numeric]
        tails = [offset + column.tails for column, offset in placed]
        self.tail_bins: NDArray[np.intp] = np.concatenate([*tails, np.empty(0, np.intp)])
        self.tail_places: NDArray[np.intp] = np.zeros(self.size, dtype=np.intp)
        self.tail_places[self.tail_bins] = 1 + np.arange(len(self.tail_bins))
        self.groups = max((int(c.groups.max()) + 1 for c in columns), default=2)
        self.group_bins: NDArray[np.intp] = np.concatenate(
            [at * self.groups + c.groups for at, c in enumerate(columns)] or [np.empty(0, np.intp)]
        )

    @cached_property
    def edges(self) -> str:
        """Id of the edges: equal iff bins mean the same."""
        digest = hashlib.blake2b(digest_size=8)
        for column in self.columns:
            wire = msgspec.structs.replace(column.wire, counts=b"", means=b"")
            digest.update(msgspec.msgpack.encode(wire))
        return digest.hexdigest()

    def grouped(self, counts: Ints) -> Ints:
        """Return counts by column and coarse group, K × G; zero where there are fewer."""
        total = len(self.columns) * self.groups
        summed = np.bincount(self.group_bins, weights=counts, minlength=total)
        return summed.astype(np.int64).reshape(len(self.columns), self.groups)


class Reference:
    """Rows that later windows are compared with: what the model was trained or judged on.

    Attributes:
        columns: Every watched column; the last is `SCORE` if scores were given.
        layout: Where their bins lie.
        n: Rows.
        id: Of the edges; profiles with another can't be compared.
        profile: The reference's own rows, summarised.
        joint: Its scores and labels, if given (held-out ones).
        variations: By window length in seconds, how much windows of the reference differ
            from the whole of it.
    """

    def __init__(
        self,
        columns: list[Column],
        profile: Profile | None = None,
        joint: Joint | None = None,
        variations: dict[int, Variation] | None = None,
    ) -> None:
        self.columns = columns
        self.layout = Layout(columns)
        self.profile = profile
        self.joint = joint
        self.variations = variations or {}
        self._nearest: dict[int, Variation | None] = {}
        self.by_name = {column.name: at for at, column in enumerate(columns)}

    @property
    def id(self) -> str:
        return self.layout.edges

    @property
    def n(self) -> int:
        return self.profile.rows if self.profile else 0

    @cached_property
    def counts(self) -> Ints:
        """Every column's reference counts, in the layout's order."""
        return np.concatenate([column.counts for column in self.columns])

    @cached_property
    def grouped(self) -> Ints:
        """Reference counts by column and coarse group."""
        return self.layout.grouped(self.counts)

    def part(self, profile: Profile, name: str) -> Ints:
        """Return the bins of column `name` of a profile of this reference."""
        at = self.by_name[name]
        offset = self.layout.offsets[at]
        return profile.counts[offset : offset + self.columns[at].size]

    def variation(self, seconds: int) -> Variation | None:
        """Return how much windows of `seconds` vary; None if the rows had no times."""
        if seconds not in self._nearest:
            self._nearest[seconds] = nearest(self.variations, seconds)
        return self._nearest[seconds]

    @property
    def score_cuts(self) -> Floats | None:
        """Cuts of the score column, which the joint histogram shares."""
        at = self.by_name.get(SCORE)
        return None if at is None else self.columns[at].cuts

    def encode(self) -> bytes:
        """Return bytes for an object store."""
        return msgspec.msgpack.encode(
            (
                1,
                [column.wire for column in self.columns],
                self.profile.encode() if self.profile else None,
                self.joint.encode() if self.joint else None,
                self.variations,
            )
        )


class _Wire(Struct, frozen=True, array_like=True):
    version: int
    columns: list[Wire]
    profile: bytes | None
    joint: bytes | None
    variations: dict[int, Variation]


def decode_reference(data: bytes) -> Reference:
    """Return the reference that `Reference.encode` wrote.

    Raises:
        Invalid: If the bytes are none.
    """
    try:
        wire = msgspec.msgpack.decode(data, type=_Wire)
    except msgspec.MsgspecError as error:
        raise Invalid("these bytes are no profile reference", where=str(error)) from None
    return Reference(
        [Column(column) for column in wire.columns],
        decode(wire.profile) if wire.profile else None,
        decode_joint(wire.joint) if wire.joint else None,
        wire.variations,
    )


def build_reference(
    frame: Any,
    *,
    scores: Any = None,
    labels: Any = None,
    times: Any = None,
    score_times: Any = None,
    windows: tuple[int, ...] = (DAY, WEEK),
) -> Reference:
    """Build the reference of a model version.

    Args:
        frame: The features as the model sees them: polars DataFrame or mapping of arrays.
        scores: What the version answers on rows it was *not* trained on (held out); answers
            to its own training rows look better than any later window can.
        labels: Truth of the rows of `scores` (0 or 1), for calibration and for the
            reference's own quality.
        times: When each row of `frame` happened (datetimes, or seconds since 1970). With
            it, windows may vary as windows of the reference did (the weather is never the
            same two days in a row); without it, only by the policy's floor.
        score_times: Likewise for the rows of `scores`.
        windows: Lengths in seconds to learn that variation for.

    Raises:
        Invalid: If lengths differ or the frame has no column.
    """
    columns, _ = columns_of(frame)
    if not columns:
        raise Invalid("a reference needs one column at least")
    built = [_column(name, values) for name, values in columns.items()]
    summary = summarise(columns, Layout(built))
    built = _counted(built, summary.counts)
    variations = {}
    if times is not None:
        variations = variation(columns, Layout(built), summary, times, windows)
    if scores is None:
        return Reference(built, summary, None, variations)
    score = [_score_column(scores)]
    answers = summarise({}, Layout(score), scores=scores)
    score = _counted(score, answers.counts)
    if score_times is not None:
        columns = {SCORE: scores}
        own = variation(columns, Layout(score), answers, score_times, windows)
        variations = joined(variations, own, len(built))
    built = built + score
    reference = Reference(built, _beside(summary, answers, Layout(built)), None, variations)
    if labels is not None:
        reference.joint = labelled(scores, labels, reference)
    return reference


def _column(name: str, values: Any) -> Column:
    if name == SCORE:
        raise Invalid(f"{SCORE} is the name of the model's answers", hint="rename the column")
    if is_numeric(values):
        return _numeric(name, numbers(values).values)
    found = categories(values).counts
    order = [text for text, _ in sorted(found.items(), key=lambda kv: (-kv[1], kv[0]))]
    empty = np.zeros(min(len(order), TOP) + 4, dtype="<i8")
    known = sorted(order[TOP : TOP + KNOWN])
    wire = Wire(name, None, (0.0, 0.0), order[:TOP], known, empty.tobytes(), b"")
    return Column(wire)


def _numeric(name: str, values: Floats, extra: Floats | None = None) -> Column:
    values = values[np.isfinite(values)]
    cuts, ends = numeric_cuts(np.sort(values))
    if extra is not None:
        cuts = np.concatenate([np.unique(np.concatenate([cuts[:-2], extra])), cuts[-2:]])
    empty = np.zeros(len(cuts) + 3, dtype="<i8")
    bins = cuts.searchsorted(values, side="right")
    rows = np.bincount(bins, minlength=len(cuts) - 1)[1:]
    sums = np.bincount(bins, values, minlength=len(cuts) - 1)[1:]
    with np.errstate(invalid="ignore", over="ignore"):
        means = (sums / rows).astype("<f8")
    wire = Wire(name, cuts.tobytes(), ends, [], [], empty.tobytes(), means.tobytes())
    return Column(wire)


def _score_column(scores: Any) -> Column:
    values = numbers(scores).values
    finite = values[np.isfinite(values)]
    probability = bool(((finite >= 0) & (finite <= 1)).all())
    return _numeric(SCORE, values, score_cuts() if probability else None)


def _counted(columns: list[Column], counts: Ints) -> list[Column]:
    ends = np.cumsum([column.size for column in columns])[:-1]
    parts = np.split(counts.astype("<i8"), ends)
    return [
        Column(msgspec.structs.replace(column.wire, counts=part.tobytes()))
        for column, part in zip(columns, parts, strict=True)
    ]


def _beside(features: Profile, scores: Profile, layout: Layout) -> Profile:
    """Return one profile of both; the rows of the scores are others (held out)."""
    return Profile(
        edges=layout.edges,
        rows=features.rows,
        counts=np.concatenate([features.counts, scores.counts]),
        moments=np.hstack([features.moments, scores.moments]),
        tails=np.concatenate([features.tails, scores.tails]),
        hitters=features.hitters,
    )
