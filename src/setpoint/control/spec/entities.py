"""What a spec is: every key of a setpoint file, its type, its default and its meaning.

Here is the promise: data, training, objective, guardrails. What happens once a version
serves (serving, releases, watching, reacting) is in `running`.

Durations are `timedelta`, percentages are fractions (``5%`` is 0.05), rates are `Rate`.
Defaults that depend on other keys are settled when a struct is built, so a `Spec` never
holds an open question and its canonical form says all of it.
"""

from typing import Annotated, ClassVar, Literal

from msgspec import Struct
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
from setpoint.control.spec.running import Privacy, React, Release, Serve, Watch


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
            "`time` judges on the newest rows, as in use; the default where there is `data.time`",
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
            rival: Literal["baseline", "nothing"] = "baseline" if self.train.baseline else "nothing"
            force_setattr(self, "objective", replace(self.objective, better_than=rival))

    @property
    def task(self) -> Task:
        """What kind of prediction it is: the metric says."""
        return "regression" if self.objective.metric in REGRESSION else "classification"
