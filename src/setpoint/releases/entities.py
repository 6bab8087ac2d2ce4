"""What a release is. Values only."""

from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise

from msgspec import Struct

from setpoint.errors import Invalid
from setpoint.releases.evidence import Evidence
from setpoint.releases.objective import METRICS


class Stage(StrEnum):
    SHADOW = "shadow"  #: the candidate scores copies of requests; nobody sees its answers
    CANARY = "canary"  #: it answers a share of the traffic
    DONE = "done"


class State(StrEnum):
    WAITING = "waiting"  #: for the approval that its policy asks for; nobody is served by it
    RUNNING = "running"
    HELD = "held"  #: waits for a person
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    REJECTED = "rejected"  #: the approval was refused; it never served


#: A model has at most one release in these states.
OPEN = (State.WAITING, State.RUNNING, State.HELD)


class OnBreach(StrEnum):
    ROLLBACK = "rollback"
    HOLD = "hold"


class Inconclusive(StrEnum):
    HOLD = "hold"
    PROMOTE = "promote"  #: recorded as not proven; unless it leans towards worse: rolled back


class Policy(Struct, frozen=True, kw_only=True):
    """What is tolerated, how sure one must be, and how long it may take.

    Fixed when a release starts: a change of the spec touches the next release only.
    """

    shadow: int = 500  #: rows scored by both arms before any traffic; 0 skips the stage
    steps: tuple[float, ...] = (
        0.05,
        0.25,
        1.0,
    )  #: shares of traffic, rising; 1 is promotion
    false_rollback: float = 0.01  #: chance that a healthy candidate is ever rolled back
    false_promote: float = 0.05  #: chance that an inferior one is ever promoted as proven
    at_most: timedelta = timedelta(days=7)  #: from start (or resume) to a verdict
    guards: tuple[str, ...] = ("errors",)  #: yes/no events that are judged
    tolerated_ratio: float = 1.25  #: event rate over the live version's that is no breach
    proven_ratio: float = 2.0  #: promote only when the ratio is shown to be below this …
    harmless_rate: float = 0.01  #: … or the candidate's own event rate below this
    loss_margin: float | None = 0.01  #: tolerated rise of the mean loss; None: not judged
    loss: str = "log loss"  #: what the loss is called, for people
    minimum_labels: int = 100  #: paired labels before the loss is judged
    block: timedelta = timedelta(0)  #: rows this close may go together; 0: independent
    minimum_blocks: int = 8  #: blocks with labels before the loss is judged, if there are any
    objective: str | None = None  #: judged block by block, see `objective.METRICS`; None: not
    objective_margin: float = 0.02  #: tolerated fall of the objective
    objective_block: timedelta = timedelta(hours=1)  #: as `block`; longer than it, never shorter
    patience: timedelta = timedelta(hours=1)  #: how long labels are waited for after a block
    least_of_class: int = 20  #: a block with fewer positives or negatives waits for the next
    labels_expected: int = 1000  #: paired labels at which its interval is tightest
    step_requests: int = 500  #: rows at one share before the next, unless clearly better
    breaker: int = 20  #: failures of the candidate in a row that end it at once
    on_breach: OnBreach = OnBreach.ROLLBACK
    inconclusive: Inconclusive = Inconclusive.HOLD
    errors_at_most: float | None = None  #: share of requests that may fail, whatever is live
    approvers: tuple[str, ...] = ()  #: roles, any of which must approve first; empty: nobody

    def __post_init__(self) -> None:
        for ok, what, hint in (
            (bool(self.steps), "steps is empty", "e.g. [5%, 25%, 100%]"),
            (
                all(0 < s <= 1 for s in self.steps),
                f"steps are {self.steps}",
                "shares lie in (0, 1]",
            ),
            (
                all(a < b for a, b in pairwise(self.steps)),
                f"steps are {self.steps}",
                "each step must be larger than the one before",
            ),
            (
                0 < self.false_rollback < 0.5 and 0 < self.false_promote < 0.5,
                f"the error rates are {self.false_rollback} and {self.false_promote}",
                "false_rollback and false_promote lie between 0 and 50 %",
            ),
            (
                1 <= self.tolerated_ratio < self.proven_ratio,
                f"tolerated ratio {self.tolerated_ratio}, proven {self.proven_ratio}",
                "1 ≤ tolerated_ratio < proven_ratio",
            ),
            (
                0 < self.harmless_rate < 1,
                f"harmless_rate is {self.harmless_rate}",
                "in (0, 1)",
            ),
            (
                self.loss_margin is None or self.loss_margin > 0,
                f"loss_margin is {self.loss_margin}",
                "just as good can only be proven within a margin above 0",
            ),
            (
                self.errors_at_most is None or 0 <= self.errors_at_most < 1,
                f"errors_at_most is {self.errors_at_most}",
                "in [0, 1)",
            ),
            (
                self.objective in {None, *METRICS},
                f"no objective {self.objective!r} can be judged by blocks",
                f"there are {', '.join(METRICS)}",
            ),
            (
                0 < self.objective_margin < 1 and self.least_of_class >= 1,
                f"objective_margin {self.objective_margin}, least_of_class {self.least_of_class}",
                "a margin in (0, 1), and 1 row or more",
            ),
            (self.at_most > timedelta(0), f"at_most is {self.at_most}", "e.g. 7d"),
            (
                min(self.breaker, self.labels_expected) >= 1 and self.minimum_labels >= 2,
                "breaker and labels_expected must be 1, minimum_labels 2 or more",
                "leave them out for the defaults",
            ),
            (
                min(self.shadow, self.step_requests) >= 0,
                "a count is negative",
                "use 0 or more",
            ),
        ):
            if not ok:
                raise Invalid(f"the release policy cannot work: {what}", hint=hint)

    @property
    def canary_steps(self) -> tuple[float, ...]:
        """The shares at which both arms answer: a step of 1 is the promotion itself."""
        return tuple(step for step in self.steps if step < 1)


class Approval(Struct, frozen=True, kw_only=True):
    """Somebody's answer to a release that asked for approval."""

    given: bool  #: False: it was rejected
    by: str  #: who, as recorded with every event
    role: str  #: which of `Policy.approvers` they answered as
    at: datetime
    reason: str


class Release(Struct, frozen=True, kw_only=True):
    """The movement of a model's traffic from one version to another."""

    id: str
    model: str
    version: int  #: the candidate
    from_version: int | None  #: live when it started; None: the model's first version
    stage: Stage
    step: int  #: 0 in the shadow, then 1-based into `policy.canary_steps`
    weight: float  #: the candidate's share of answered traffic now, a fraction
    state: State
    started_at: datetime
    stage_since: datetime
    limit_from: datetime  #: `policy.at_most` counts from here: start, approval or resume
    ended_at: datetime | None = None
    revision: int = 0  #: how often it changed; writers name the one they saw
    policy: Policy
    evidence: Evidence = Evidence()
    verdict_why: str = ""  #: why it stands where it stands, in words with numbers
    proven: bool = False  #: promoted because shown not inferior
    held_by_policy: bool = False  #: held by the rules (its traffic was taken away)
    override_by: str = ""  #: who decided against or without the rules
    override_reason: str = ""
    approval: Approval | None = None  #: None: not asked for, or not answered yet

    @property
    def ref(self) -> str:
        return f"release:{self.id}"

    @property
    def open(self) -> bool:
        """Whether it is not over: waiting, running or held."""
        return self.state in OPEN

    @property
    def at_once(self) -> bool:
        """Whether it brought its version live in no stages: the first one, or put there."""
        put_there = self.step == 0 and self.ended_at == self.started_at
        return self.state is State.PROMOTED and (self.from_version is None or put_there)


class Look(Struct, frozen=True, kw_only=True):
    """The evidence as it stood at one time: a point on the curves of a release."""

    at: datetime
    step: int
    weight: float
    evidence: Evidence
