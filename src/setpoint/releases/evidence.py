"""What a release has shown so far: sums that merge, small enough for one database row.

Nothing here grows with traffic and nothing depends on how the traffic was cut into
windows: `merge` adds integers (and joins means by Chan's formula), so any split of the
same requests gives the same evidence. What it proves is `sequential`'s business.
"""

import math
from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from setpoint.errors import Invalid
from setpoint.releases.objective import PairedObjective, merge_objectives


class GuardTally(Struct, frozen=True, kw_only=True):
    """How often one yes/no event happened while the canary had one share of the traffic.

    While both arms score the same rows (a shadow), the share is 0.5: each row counts as one
    request of the canary and one of the live version.
    """

    weight: float  #: the canary's share of requests, a fraction in [0, 1]
    canary_events: int  #: requests of the canary where it happened
    total_events: int  #: requests of either arm where it happened
    canary_requests: int
    requests: int  #: of either arm

    def __post_init__(self) -> None:
        in_order = (
            0 <= self.canary_events <= self.canary_requests
            and self.canary_requests <= self.requests
            and 0 <= self.stable_events <= self.stable_requests
        )
        if not in_order or not 0 <= self.weight <= 1:
            raise Invalid(f"a tally that cannot be: {self}")

    @property
    def stable_events(self) -> int:
        return self.total_events - self.canary_events

    @property
    def stable_requests(self) -> int:
        return self.requests - self.canary_requests


class PairedLoss(Struct, frozen=True, kw_only=True):
    """Differences of loss, canary minus live, over labelled rows that both arms scored."""

    n: int = 0
    mean: float = 0.0
    m2: float = 0.0  #: sum of squared deviations from `mean`
    #: by the start of each block of time: its rows and the sum of their differences
    blocks: dict[str, tuple[int, float]] = {}

    @property
    def sd(self) -> float:
        """Sample standard deviation of the rows; 0 below two rows."""
        return math.sqrt(self.m2 / (self.n - 1)) if self.n > 1 else 0.0

    @property
    def spread(self) -> float:
        """The standard deviation that independent rows of a mean this uncertain would have.

        Rows of one block of time go together: one storm makes many flights late. Where
        blocks are known it is the cluster-robust one (Liang & Zeger 1986, Biometrika 73,
        13-22, with the correction G/(G − 1) for G blocks), never less than `sd`.
        """
        count = len(self.blocks)
        if count < 2:
            return self.sd
        square = math.fsum((total - n * self.mean) ** 2 for n, total in self.blocks.values())
        return max(self.sd, math.sqrt(square / self.n * count / (count - 1)))


class Streak(Struct, frozen=True, kw_only=True):
    """The longest run of failures in a sequence, in a form that can be continued.

    Two neighbouring sequences join to the streak of the whole: a run may cross the seam.
    """

    length: int = 0  #: requests seen
    head: int = 0  #: failures before the first success
    tail: int = 0  #: failures since the last success
    longest: int = 0


class Evidence(Struct, frozen=True, kw_only=True):
    """All a release is judged by."""

    guards: dict[str, tuple[GuardTally, ...]] = {}  #: by guard, one tally a traffic share
    loss: PairedLoss = PairedLoss()
    objective: PairedObjective = PairedObjective()
    requests_in_stage: int = 0  #: rows answered by either arm since the last step
    canary_streak: Streak = Streak()  #: of the canary's (and shadow's) failed requests


def merge(earlier: Evidence, later: Evidence) -> Evidence:
    """Add up two pieces of evidence.

    Associative always; commutative but for `canary_streak`, which is about an order.
    """
    names = sorted({*earlier.guards, *later.guards})
    return Evidence(
        guards={
            name: merge_tallies((*earlier.guards.get(name, ()), *later.guards.get(name, ())))
            for name in names
        },
        loss=merge_losses(earlier.loss, later.loss),
        objective=merge_objectives(earlier.objective, later.objective),
        requests_in_stage=earlier.requests_in_stage + later.requests_in_stage,
        canary_streak=merge_streaks(earlier.canary_streak, later.canary_streak),
    )


def next_stage(evidence: Evidence) -> Evidence:
    """Return `evidence` as a new stage begins: all kept, the stage's requests at 0."""
    return replace(evidence, requests_in_stage=0)


def merge_tallies(tallies: Iterable[GuardTally]) -> tuple[GuardTally, ...]:
    """Add tallies of equal weight; the result is sorted by weight."""
    by_weight: dict[float, GuardTally] = {}
    for tally in tallies:
        old = by_weight.get(tally.weight)
        by_weight[tally.weight] = tally if old is None else _sum(old, tally)
    return tuple(by_weight[weight] for weight in sorted(by_weight))


def _sum(a: GuardTally, b: GuardTally) -> GuardTally:
    return GuardTally(
        weight=a.weight,
        canary_events=a.canary_events + b.canary_events,
        total_events=a.total_events + b.total_events,
        canary_requests=a.canary_requests + b.canary_requests,
        requests=a.requests + b.requests,
    )


def merge_losses(a: PairedLoss, b: PairedLoss) -> PairedLoss:
    """Join two running means and sums of squares.

    References:
        Chan, Golub & LeVeque (1979), "Updating formulae and a pairwise algorithm for
        computing sample variances", Stanford STAN-CS-79-773.
    """
    n = a.n + b.n
    if n == 0:
        return a
    apart = b.mean - a.mean
    return PairedLoss(
        n=n,
        mean=(a.n * a.mean + b.n * b.mean) / n,
        m2=a.m2 + b.m2 + apart**2 * a.n * b.n / n,
        blocks=_merge_blocks(a.blocks, b.blocks),
    )


def _merge_blocks(
    a: dict[str, tuple[int, float]], b: dict[str, tuple[int, float]]
) -> dict[str, tuple[int, float]]:
    merged = dict(a)
    for start, (n, total) in b.items():
        before = merged.get(start, (0, 0.0))
        merged[start] = (before[0] + n, before[1] + total)
    return dict(sorted(merged.items()))


def merge_streaks(earlier: Streak, later: Streak) -> Streak:
    """Continue `earlier` by `later`."""
    return Streak(
        length=earlier.length + later.length,
        head=earlier.head + (later.head if earlier.head == earlier.length else 0),
        tail=later.tail + (earlier.tail if later.tail == later.length else 0),
        longest=max(earlier.longest, later.longest, earlier.tail + later.head),
    )


def streak(failures: Sequence[bool]) -> Streak:
    """Summarise outcomes in the order of the requests; True is a failure.

    Example:
        >>> streak([True, False, True, True]).longest
        2
    """
    longest = run = head = 0
    for position, failed in enumerate(failures):
        run = run + 1 if failed else 0
        longest = max(longest, run)
        if run == position + 1:
            head = run
    return Streak(length=len(failures), head=head, tail=run, longest=longest)


def paired_loss(differences: Sequence[float], blocks: Sequence[str] | None = None) -> PairedLoss:
    """Summarise differences of loss, canary minus live, one a labelled row.

    Args:
        differences: [n].
        blocks: [n] the block of time each row lies in; None where rows are independent.

    Raises:
        Invalid: If one is not finite: such an output is an event of a guard, not a loss.
    """
    if not differences:
        return PairedLoss()
    if not all(map(math.isfinite, differences)):
        raise Invalid(
            "a difference of losses is not finite",
            hint="count rows without a finite score as an event of a guard",
        )
    mean = math.fsum(differences) / len(differences)
    together: dict[str, tuple[int, float]] = {}
    for block, difference in zip(blocks or (), differences, strict=blocks is not None):
        n, total = together.get(block, (0, 0.0))
        together[block] = (n + 1, total + difference)
    return PairedLoss(
        n=len(differences),
        mean=mean,
        m2=math.fsum((d - mean) ** 2 for d in differences),
        blocks=dict(sorted(together.items())),
    )


def log_loss(score: float, label: float, *, floor: float = 1e-6) -> float:
    """Return minus the log of the probability that `score` gave to what happened, in nats.

    Args:
        score: Probability of the positive class.
        label: 1 where it happened, else 0.
        floor: Probabilities are kept this far from 0 and 1, so that one row that was
            certain and wrong costs at most -log `floor` (13.8 nats) and not all.
    """
    likely = min(max(score if label else 1 - score, floor), 1 - floor)
    return -math.log(likely)


def squared_error(score: float, label: float) -> float:
    """Return the squared distance of a regression value to what happened."""
    return (score - label) ** 2
