"""What a spec is: every key of a setpoint file, its type, its default and its meaning.

Durations are `timedelta`, percentages are fractions (``5%`` is 0.05), rates are `Rate`.
Defaults that depend on other keys are settled when a struct is built, so a `Spec` never
holds an open question and its canonical form says all of it.
"""

from typing import Annotated, ClassVar, Literal

from msgspec import Struct, field
from msgspec.structs import force_setattr, replace

from setpoint.control.spec.fields import (
    LOWER_IS_BETTER,
    REGRESSION,
    Code,
    Column,
    Count,
    Doc,
    Duration,
    Growth,
    Metric,
    ModelName,
    PathText,
    Percent,
    Sources,
    Task,
)
from setpoint.control.spec.units import Amount, Rate, parse_duration, parse_rate


class Label(Struct, frozen=True, kw_only=True):
    """The truth a prediction is later compared with."""

    SHORT: ClassVar[str] = "column"  #: ``label: late`` is ``label: {column: late}``

    column: Annotated[
        Column,
        Doc("the column with the truth", "this is what the model learns to predict"),
    ] = "label"
    delay: Annotated[
        Duration | Column | None,
        Doc(
            "how long after `time` the truth is known: a duration, or the column that "
            "has the moment",
            "training never uses a label before it was known",
        ),
    ] = None
    known_at: Annotated[
        Column | None,
        Doc(
            "the column with the moment the truth became known",
            "the same as `delay: that column`",
        ),
    ] = None

    def __post_init__(self) -> None:
        if isinstance(self.delay, str):
            force_setattr(self, "known_at", self.known_at or self.delay)
            force_setattr(self, "delay", None)


class Data(Struct, frozen=True, kw_only=True):
    """Where rows come from and what they mean."""

    source: Annotated[
        Sources,
        Doc(
            "where rows come from: a parquet or CSV file, or a function of the project; "
            "several by name",
            "each becomes a versioned dataset",
        ),
    ]
    rows: Annotated[
        str,
        Doc(
            "the source whose rows are predicted, one prediction a row",
            "the other sources only feed features",
        ),
    ] = ""  #: settled to the first source
    label: Annotated[Label, Doc("the truth, and when it becomes known")] = Label()
    entity: Annotated[
        Column | None,
        Doc(
            "the column that identifies a row",
            "predictions and labels are joined by it; without it rows are numbered",
        ),
    ] = None
    time: Annotated[
        Column | None,
        Doc(
            "the column with the moment of a prediction",
            "features are taken as known at that moment; without it nothing is "
            "point-in-time and the test split is random",
        ),
    ] = None
    contract: Annotated[
        PathText | None,
        Doc(
            "an ODCS data contract",
            "every new dataset version is checked; failing rows are shown and kept out",
        ),
    ] = None

    def __post_init__(self) -> None:
        if not self.rows:
            force_setattr(self, "rows", next(iter(self.source), ""))


class Split(Struct, frozen=True, kw_only=True):
    """How rows are set apart to judge a version on."""

    by: Annotated[
        Literal["time", "random"] | None,
        Doc(
            "what decides which rows are for the test",
            "`time` judges on the newest rows, as in use; the default where there is "
            "`data.time`",
        ),
    ] = None  #: settled by `Spec`
    test: Annotated[
        Duration | Percent,
        Doc(
            "how much is for the test: a duration or a percentage of rows",
            "more makes the gate surer, and leaves less to train on",
        ),
    ] = 0.2


class Train(Struct, frozen=True, kw_only=True):
    """How a version is made."""

    code: Annotated[
        Code,
        Doc("the function that trains", "any change of its code makes a new version"),
    ]
    baseline: Annotated[
        Code | None,
        Doc(
            "the function that trains the simple model to beat",
            "trained and measured on the same rows, each time",
        ),
    ] = None
    split: Annotated[Split, Doc("the rows a version is judged on")] = Split()
    seed: Annotated[
        int, Doc("the seed handed to training", "the same seed gives the same model")
    ] = 0
    window: Annotated[
        Duration | None,
        Doc(
            "train on the rows of the last so long only",
            "shorter follows change faster and knows less; without it all rows are used",
        ),
    ] = None


class Objective(Struct, frozen=True, kw_only=True):
    """What a version must reach before it may serve, and must hold in use."""

    SHORT: ClassVar[str] = "metric"

    metric: Annotated[
        Metric,
        Doc("the measure of quality", "watched in use as labels arrive"),
    ] = "roc_auc"
    at_least: Annotated[
        float | None,
        Doc("the least it may be", "a version below it fails the gate"),
    ] = None
    at_most: Annotated[
        float | None,
        Doc("the most it may be, for errors and losses", "above it the gate fails"),
    ] = None
    better_than: Annotated[
        Literal["baseline", "nothing"] | None,
        Doc(
            "what it must beat on the same rows",
            "`baseline` unless there is none: a version no better fails the gate",
        ),
    ] = None  #: settled by `Spec`
    confidence: Annotated[
        Percent,
        Doc(
            "the confidence of every interval the gate uses",
            "higher lets fewer bad versions pass and needs more rows",
        ),
    ] = 0.95

    @property
    def higher_is_better(self) -> bool:
        """Whether more of the metric is better."""
        return self.metric not in LOWER_IS_BETTER


class Bound(Struct, frozen=True, kw_only=True):
    """A number with a floor, a ceiling, or both."""

    at_least: Annotated[float | None, Doc("the least it may be")] = None
    at_most: Annotated[float | None, Doc("the most it may be")] = None


class Slices(Struct, frozen=True, kw_only=True):
    """Parts of the rows in which the metric must hold as well."""

    by: Annotated[
        tuple[Column, ...],
        Doc("the columns whose values make the slices", "each value is judged by itself"),
    ]
    least_rows: Annotated[
        Count,
        Doc("slices with fewer test rows are not judged", "fewer rows, wider intervals"),
    ] = 100
    roc_auc: Annotated[Bound | None, Doc("bounds in each slice")] = None
    average_precision: Annotated[Bound | None, Doc("bounds in each slice")] = None
    accuracy: Annotated[Bound | None, Doc("bounds in each slice")] = None
    precision: Annotated[Bound | None, Doc("bounds in each slice")] = None
    recall: Annotated[Bound | None, Doc("bounds in each slice")] = None
    f1: Annotated[Bound | None, Doc("bounds in each slice")] = None
    log_loss: Annotated[Bound | None, Doc("bounds in each slice")] = None
    brier: Annotated[Bound | None, Doc("bounds in each slice")] = None
    r2: Annotated[Bound | None, Doc("bounds in each slice")] = None
    rmse: Annotated[Bound | None, Doc("bounds in each slice")] = None
    mae: Annotated[Bound | None, Doc("bounds in each slice")] = None

    @property
    def bounds(self) -> dict[str, Bound]:
        """The bounds that are set, by metric."""
        named = {m: getattr(self, m) for m in Metric.__args__}  # type: ignore[attr-defined]
        return {metric: bound for metric, bound in named.items() if bound is not None}


class NumberLimit(Struct, frozen=True, kw_only=True):
    """A ceiling for a number."""

    at_most: Annotated[float, Doc("the most it may be")]


class DurationLimit(Struct, frozen=True, kw_only=True):
    """A ceiling for a time."""

    at_most: Annotated[Duration, Doc("the longest it may be")]


class PercentLimit(Struct, frozen=True, kw_only=True):
    """A ceiling for a share."""

    at_most: Annotated[Percent, Doc("the largest share it may be")]


class Guardrails(Struct, frozen=True, kw_only=True):
    """What must not break while the objective is pursued."""

    slices: Annotated[Slices | None, Doc("quality in parts of the rows")] = None
    calibration_error: Annotated[
        NumberLimit | None,
        Doc(
            "expected calibration error: how far probabilities are from frequencies",
            "checked by the gate",
        ),
    ] = None
    latency_p99: Annotated[
        DurationLimit | None,
        Doc(
            "the time within which 99 of 100 requests are answered",
            "slower requests count against a release",
        ),
    ] = None
    errors: Annotated[
        PercentLimit | None,
        Doc("the share of requests that may fail", "watched in use and in releases"),
    ] = None


class Business(Struct, frozen=True, kw_only=True):
    """What the predictions are for, in the user's own measure."""

    metric: Annotated[str, Doc("what the measure is called")]
    code: Annotated[
        Code, Doc("the function that computes it, a number a row, from score and label")
    ]
    must_not_rise: Annotated[
        Growth | None,
        Doc("how much more it may be than with the live version", "else the gate fails"),
    ] = None
    must_not_fall: Annotated[
        Growth | None,
        Doc("how much less it may be than with the live version", "else the gate fails"),
    ] = None


class Log(Struct, frozen=True, kw_only=True):
    """Which predictions are kept."""

    sample: Annotated[
        Percent,
        Doc("the share of predictions logged", "only logged ones can be traced and judged"),
    ] = 1.0
    keep: Annotated[Duration, Doc("how long they are kept", "then they are deleted")] = (
        parse_duration("90d")
    )


class Serve(Struct, frozen=True, kw_only=True):
    """How predictions are answered."""

    log: Annotated[Log, Doc("the prediction log")] = Log()
    fallback: Annotated[
        Literal["baseline", "nothing"],
        Doc("what answers when the live version fails", "`nothing`: the request fails"),
    ] = "nothing"


class Shadow(Struct, frozen=True, kw_only=True):
    """The stage in which a new version computes and nobody sees its answers."""

    for_: Annotated[
        Amount,
        Doc(
            "how long: a number of requests or a time",
            "errors and quality are compared on the same requests, at no risk",
        ),
    ] = field(default=Amount(requests=500), name="for")


class Canary(Struct, frozen=True, kw_only=True):
    """The stage in which a new version answers a growing share of rows."""

    steps: Annotated[
        tuple[Percent, ...],
        Doc("the shares of traffic, rising to 100%", "smaller first steps risk less"),
    ] = (0.05, 0.25, 1.0)
    false_rollback: Annotated[
        Percent,
        Doc(
            "how often a healthy version may be rolled back",
            "shared by all guards; lower needs more evidence to roll back",
        ),
    ] = 0.01
    false_promote: Annotated[
        Percent,
        Doc(
            "how often a version worse than the margin may be promoted",
            "lower needs more evidence to promote",
        ),
    ] = 0.05
    at_most: Annotated[
        Duration, Doc("when a release without a verdict ends", "then `inconclusive` says")
    ] = parse_duration("7d")
    margin: Annotated[
        Growth,
        Doc(
            "how much more often than the live version it may fail, be slow or fall back",
            "wider decides sooner and tolerates more",
        ),
    ] = 0.25
    loss_margin: Annotated[
        Growth,
        Doc(
            "how much larger than the live version's its loss per label may be",
            "wider decides sooner and tolerates more",
        ),
    ] = 0.02
    inconclusive: Annotated[
        Literal["hold", "promote"],
        Doc(
            "what happens at `at_most` without a verdict",
            "`hold` waits for a person; `promote` goes on and records “not proven”",
        ),
    ] = "hold"


class Approve(Struct, frozen=True, kw_only=True):
    """Whose consent a release needs."""

    by: Annotated[tuple[str, ...], Doc("the roles, any one of which may approve")]
    when: Annotated[
        Literal["always", "spec changed"],
        Doc("which releases need it", "`spec changed`: retrained versions pass without"),
    ] = "always"


class Release(Struct, frozen=True, kw_only=True):
    """How a new version takes over."""

    shadow: Annotated[Shadow, Doc("first it computes along, unseen")] = Shadow()
    canary: Annotated[Canary, Doc("then it answers a share of traffic")] = Canary()
    approve: Annotated[
        Approve | None, Doc("whose consent is needed", "the release waits for it")
    ] = None
    on_breach: Annotated[
        Literal["rollback", "hold"],
        Doc("what happens when a guard is breached", "`hold` leaves it to a person"),
    ] = "rollback"


class Drift(Struct, frozen=True, kw_only=True):
    """Whether inputs and predictions still look as in training."""

    features: Annotated[
        Literal["all"] | tuple[Column, ...],
        Doc("the features watched", "fewer find a change in those sooner; [] is none"),
    ] = "all"
    prediction: Annotated[bool, Doc("whether the scores are watched too")] = True
    effect: Annotated[
        float,
        Doc(
            "the shift that does not matter, about in standard deviations",
            "larger ignores more",
        ),
    ] = 0.05


class Quality(Struct, frozen=True, kw_only=True):
    """Whether predictions are still right."""

    estimate_meanwhile: Annotated[
        bool,
        Doc("estimate the metric until labels arrive", "shown as an estimate, with a band"),
    ] = True


class Watch(Struct, frozen=True, kw_only=True):
    """What is watched in use, and how many false alarms are acceptable."""

    drift: Annotated[Drift, Doc("inputs and predictions against training")] = Drift()
    quality: Annotated[Quality, Doc("predictions against labels")] = Quality()
    window: Annotated[
        Duration,
        Doc("how much time is judged at once", "shorter finds big changes sooner"),
    ] = parse_duration("1d")
    alarm_budget: Annotated[
        Rate,
        Doc(
            "false alarms allowed, over all monitors of the model together",
            "smaller is quieter and finds changes later",
        ),
    ] = parse_rate("1/month")


class Stale(Struct, frozen=True, kw_only=True):
    """When a version is too old, whatever the monitors say."""

    SHORT: ClassVar[str] = "after"

    after: Annotated[Duration, Doc("the age at which it is retrained")]


class Retrain(Struct, frozen=True, kw_only=True):
    """How often a model may be retrained by itself."""

    at_most: Annotated[
        Rate, Doc("the most retrains", "alarms beyond it wait; people may always retrain")
    ] = parse_rate("1/week")


class React(Struct, frozen=True, kw_only=True):
    """What is done about an alarm."""

    drift: Annotated[
        Literal["retrain", "alarm"],
        Doc("on a drift alarm", "a retrained version still passes gate and release"),
    ] = "retrain"
    quality: Annotated[Literal["retrain", "alarm"], Doc("on a quality alarm")] = "retrain"
    stale: Annotated[Stale | None, Doc("retrain at an age", "without it never")] = None
    retrain: Annotated[Retrain, Doc("the limit on retraining")] = Retrain()


class Privacy(Struct, frozen=True, kw_only=True):
    """Whom the rows are about, and for how long they may be kept."""

    subject: Annotated[
        Column | None, Doc("the column that names the person", "the unit of erasure")
    ] = None
    retention: Annotated[
        Duration | None, Doc("how long rows are kept", "without it for ever")
    ] = None


class Spec(Struct, frozen=True, kw_only=True):
    """The promise about one model."""

    model: Annotated[ModelName, Doc("the name of the model", "its address when serving")]
    owner: Annotated[str, Doc("who answers for it", "alarms are theirs")] = ""
    purpose: Annotated[str, Doc("what it is for", "stands on its card")] = ""
    data: Annotated[Data, Doc("where rows come from and what they mean")]
    features: Annotated[
        tuple[Code, ...],
        Doc(
            "the functions that make features, in order",
            "without any, all numeric and boolean columns but label, entity and time",
        ),
    ] = ()
    train: Annotated[Train, Doc("how a version is made")]
    objective: Annotated[Objective, Doc("what a version must reach and hold")] = Objective()
    guardrails: Annotated[Guardrails, Doc("what must not break meanwhile")] = Guardrails()
    business: Annotated[
        Business | None, Doc("what the predictions are for, in your own measure")
    ] = None
    serve: Annotated[Serve, Doc("how predictions are answered")] = Serve()
    release: Annotated[Release, Doc("how a new version takes over")] = Release()
    watch: Annotated[Watch, Doc("what is watched in use")] = Watch()
    react: Annotated[React, Doc("what is done about an alarm")] = React()
    privacy: Annotated[Privacy, Doc("whom the rows are about")] = Privacy()

    def __post_init__(self) -> None:
        if self.train.split.by is None:
            by: Literal["time", "random"] = "time" if self.data.time else "random"
            split = replace(self.train.split, by=by)
            force_setattr(self, "train", replace(self.train, split=split))
        if self.objective.better_than is None:
            rival: Literal["baseline", "nothing"] = (
                "baseline" if self.train.baseline else "nothing"
            )
            force_setattr(self, "objective", replace(self.objective, better_than=rival))

    @property
    def task(self) -> Task:
        """What kind of prediction it is: the metric says."""
        return "regression" if self.objective.metric in REGRESSION else "classification"
