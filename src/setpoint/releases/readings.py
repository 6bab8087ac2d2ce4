"""What evidence says against a policy: numbers for curves, sentences for people. Pure."""

import math
from datetime import timedelta

from msgspec import Struct

from setpoint.releases.entities import Policy
from setpoint.releases.evidence import Evidence, GuardTally, PairedLoss
from setpoint.releases.objective import PairedObjective
from setpoint.releases.sequential import (
    log_e_fine,
    log_e_mean,
    log_e_often,
    log_e_rare,
    log_e_worse,
    mean_bounds,
    mean_sequence,
    ratio_sequence,
)

OBJECTIVE_SHARE = 0.5  #: of `Policy.false_rollback`, where the objective is judged
#: What one block may cost the wager about the objective, in margins. Found on flights: two
#: equally good versions differ by 0.065 of ROC AUC (standard deviation) in six hours, good
#: and bad ones by 0.12; a wager that could lose all of it would take weeks.
FLOOR = 4.0
ERRORS = "errors"  #: the guard that `Policy.errors_at_most` is about


class GuardReading(Struct, frozen=True, kw_only=True):
    """One yes/no event: how often on either arm, and what that shows."""

    name: str
    canary_events: int
    canary_requests: int
    stable_events: int
    stable_requests: int
    log_e: float  #: log of the e-process; a breach at `threshold` and above
    threshold: float  #: log(1 / its share of the false rollback rate)
    ratio_low: float | None  #: confidence sequence of the ratio of rates; None: unbounded
    ratio_high: float | None
    ceiling: float | None = None  #: share of its requests that may have it at all
    log_e_ceiling: float = 0.0  #: likewise, against being at or below the ceiling
    breached: bool
    proven: bool  #: shown below `policy.proven_ratio`, or rare enough to be harmless
    text: str


class LossReading(Struct, frozen=True, kw_only=True):
    """The paired difference of losses, canary minus live: below 0 is better."""

    labels: int
    mean: float
    low: float | None  #: of the sequence that decides on rolling back; None: too few labels
    high: float | None
    proof_low: float | None  #: of the (narrower) one that decides on promoting
    proof_high: float | None
    margin: float
    breached: bool
    proven: bool
    better: bool  #: shown to be below 0
    text: str


class ObjectiveReading(Struct, frozen=True, kw_only=True):
    """The objective by blocks of time, candidate minus live: above 0 is better."""

    metric: str
    blocks: int
    rows: int
    mean: float | None  #: of the blocks; None: none is closed yet
    low: float | None  #: confidence sequence of the mean; None: unbounded
    high: float | None
    margin: float  #: a mean of minus this is tolerated
    log_e: float  #: log of the e-process; a breach at `threshold` and above
    threshold: float
    breached: bool
    text: str

    @property
    def leans(self) -> bool:
        """Whether there is more evidence that it is worse than that it is not."""
        return self.log_e > 0


class Readings(Struct, frozen=True, kw_only=True):
    """All of it at one look."""

    guards: tuple[GuardReading, ...]
    objective: ObjectiveReading | None  #: None: the policy does not judge it
    loss: LossReading | None  #: None: the policy does not judge it
    breaches: tuple[str, ...]  #: why it must not go on; empty: no breach
    missing: tuple[str, ...]  #: what a promotion still has to be shown; empty: proven
    worries: tuple[str, ...]  #: what keeps an unproven candidate from a larger share
    summary: str

    @property
    def doubted(self) -> bool:
        """Whether the objective leans towards worse, which keeps back what is proven else."""
        return self.objective is not None and self.objective.leans

    @property
    def open(self) -> tuple[str, ...]:
        """What stands between this candidate and a promotion."""
        if self.objective is None or not self.objective.leans:
            return self.missing
        return (*self.missing, f"{self.objective.text} leans towards worse")

    @property
    def clearly_better(self) -> bool:
        """Whether nothing is missing and the loss is shown to be lower."""
        proven = not self.missing and not self.doubted
        return proven and self.loss is not None and self.loss.better


def read(evidence: Evidence, policy: Policy) -> Readings:
    """Read `evidence` off against `policy`.

    `false_rollback` is split, since any one part rolls back: half of it is the objective's,
    the rest is shared evenly by the guards and the loss. `false_promote` is not split, since
    guards and loss must all agree to promote; the objective can only prevent it.
    """
    judged = len(policy.guards) + (policy.loss_margin is not None)
    judged += policy.errors_at_most is not None
    spared = 0.0 if policy.objective is None else OBJECTIVE_SHARE
    alpha = policy.false_rollback * (1 - spared) / max(judged, 1)
    guards = tuple(
        _guard(name, evidence.guards.get(name, ()), policy, alpha) for name in policy.guards
    )
    loss = None if policy.loss_margin is None else _loss(evidence.loss, policy, alpha)
    objective = _objective(evidence.objective, policy)
    parts: tuple[GuardReading | LossReading, ...] = guards if loss is None else (loss, *guards)
    told = parts if objective is None else (objective, *parts)
    breaches = [part.text for part in told if part.breached]
    run = evidence.canary_streak.longest
    if run >= policy.breaker:
        breaches.insert(0, f"{run} failures of the candidate in a row")
    return Readings(
        guards=guards,
        objective=objective,
        loss=loss,
        breaches=tuple(breaches),
        missing=tuple(_missing(part, policy) for part in parts if not part.proven),
        worries=tuple(_worries(guards, loss, policy, objective)),
        summary="; ".join(part.text for part in told) or "nothing is judged by this policy",
    )


def _guard(
    name: str, tallies: tuple[GuardTally, ...], policy: Policy, alpha: float
) -> GuardReading:
    events = sum(t.canary_events for t in tallies)
    requests = sum(t.canary_requests for t in tallies)
    others = sum(t.stable_events for t in tallies)
    stable = sum(t.stable_requests for t in tallies)
    log_e = log_e_worse(tallies, policy.tolerated_ratio)
    threshold = -math.log(alpha)
    low, high = ratio_sequence(tallies, alpha)
    proof = -math.log(policy.false_promote)
    ceiling = policy.errors_at_most if name == ERRORS else None
    above = 0.0 if ceiling is None else log_e_often(events, requests, ceiling)
    allowed = "" if ceiling is None else f", at most {100 * ceiling:.4g}% allowed"
    shown = f"{_number(low, '0')}..{_number(high, '∞')}"
    return GuardReading(
        name=name,
        canary_events=events,
        canary_requests=requests,
        stable_events=others,
        stable_requests=stable,
        log_e=log_e,
        threshold=threshold,
        ratio_low=low,
        ratio_high=high,
        ceiling=ceiling,
        log_e_ceiling=above,
        breached=log_e >= threshold or above >= threshold,
        proven=max(
            log_e_fine(tallies, policy.proven_ratio),
            log_e_rare(events, requests, policy.harmless_rate),
        )
        >= proof,
        text=f"{name} {events:,} of {requests:,} on the candidate, {others:,} of "
        f"{stable:,} on the live version (ratio {shown} at {_level(2 * alpha)}){allowed}",
    )


def _loss(loss: PairedLoss, policy: Policy, alpha: float) -> LossReading:
    margin = policy.loss_margin or 0.0
    enough = loss.n >= policy.minimum_labels and (
        not loss.blocks or len(loss.blocks) >= policy.minimum_blocks
    )
    at = policy.labels_expected
    low, high = mean_sequence(loss, alpha, tightest_at=at) if enough else (None, None)
    proof_low, proof_high = (
        mean_sequence(loss, policy.false_promote, tightest_at=at) if enough else (None, None)
    )
    breached = low is not None and low > margin
    if breached:
        shown = f" ({_level(alpha)} {low:+.3f}..{high:+.3f})"
    elif proof_low is not None:
        shown = f" ({_level(policy.false_promote)} {proof_low:+.3f}..{proof_high:+.3f})"
    else:
        shown = ""
    return LossReading(
        labels=loss.n,
        mean=loss.mean,
        low=low,
        high=high,
        proof_low=proof_low,
        proof_high=proof_high,
        margin=margin,
        breached=breached,
        proven=proof_high is not None and proof_high < margin,
        better=proof_high is not None and proof_high < 0,
        text=f"{policy.loss} {loss.mean:+.3f}{shown} over {loss.n:,} paired labels",
    )


def _objective(seen: PairedObjective, policy: Policy) -> ObjectiveReading | None:
    if policy.objective is None:
        return None
    margin, found = policy.objective_margin, seen.differences
    alpha = policy.false_rollback * OBJECTIVE_SHARE
    log_e = float(log_e_mean(-margin - found, FLOOR * margin))
    low, high = mean_bounds(found, alpha, floor=FLOOR * margin)
    mean = float(found.mean()) if found.size else None
    rows = sum(block.rows for block in seen.judged)
    length = in_words(policy.objective_block)
    if mean is None:
        text = f"{policy.objective} not judged yet: no block of {length} is closed"
    else:
        known = low is not None and high is not None
        shown = f" ({_level(2 * alpha)} {low:+.3f}..{high:+.3f})" if known else ""
        blocks = f"{found.size} blocks of {length}, {rows:,} labels"
        text = f"{policy.objective} {mean:+.3f}{shown} in {blocks}"
    return ObjectiveReading(
        metric=policy.objective,
        blocks=found.size,
        rows=rows,
        mean=mean,
        low=low,
        high=high,
        margin=margin,
        log_e=log_e,
        threshold=-math.log(alpha),
        breached=log_e >= -math.log(alpha),
        text=text,
    )


def _missing(part: GuardReading | LossReading, policy: Policy) -> str:
    if isinstance(part, GuardReading):
        return (
            f"{part.text} must be shown below {policy.proven_ratio:g} times as often, "
            f"or below {policy.harmless_rate:.2%} of requests"
        )
    if part.proof_high is None:
        return (
            f"{part.labels:,} of at least {policy.minimum_labels:,} paired labels{_blocks(policy)}"
        )
    return f"{part.text} must be shown below {part.margin:+g}"


def _blocks(policy: Policy) -> str:
    if not policy.block:
        return ""
    return f", in at least {policy.minimum_blocks} blocks of {in_words(policy.block)}"


def _worries(
    guards: tuple[GuardReading, ...],
    loss: LossReading | None,
    policy: Policy,
    objective: ObjectiveReading | None,
) -> list[str]:
    worries = [f"{g.text} leans towards worse" for g in guards if max(g.log_e, g.log_e_ceiling) > 0]
    if loss is not None and loss.proof_high is None:
        worries.append(_missing(loss, policy))
    elif loss is not None and loss.mean > loss.margin:
        worries.append(f"{loss.text} leans towards worse")
    if objective is not None and objective.leans:
        worries.append(f"{objective.text} leans towards worse")
    return worries


def _level(alpha: float) -> str:
    return f"{100 * (1 - alpha):.4g}% CS"


def in_words(duration: timedelta) -> str:
    """Return e.g. ``7 days``, ``1.5 h``, ``90 s``."""
    seconds = duration.total_seconds()
    for size, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.3g} s"


def _number(value: float | None, otherwise: str) -> str:
    return otherwise if value is None else f"{value:.2f}"
