"""What can be asked of tracking, and what comes back: the commands and their answers."""

from datetime import datetime

from msgspec import UNSET, Struct, UnsetType, field

from setpoint.runs.entities import (
    Artifact,
    Band,
    Code,
    Dataset,
    Difference,
    Experiment,
    Link,
    Point,
    Run,
    RunRule,
    Series,
    Status,
    Value,
    View,
)

# -- experiments ------------------------------------------------------------------------


class CreateExperiment(Struct, frozen=True, kw_only=True):
    name: str
    tags: dict[str, str] = field(default_factory=dict)


class FindExperiment(Struct, frozen=True, kw_only=True):
    """By id or by name; deleted ones are found too."""

    id: int | None = None
    name: str | None = None


class UpdateExperiment(Struct, frozen=True, kw_only=True):
    id: int
    name: str | None = None  #: a new one
    tags: dict[str, str] = field(default_factory=dict)  #: added, over what they were
    untag: list[str] = field(default_factory=list)


class OneExperiment(Struct, frozen=True, kw_only=True):
    id: int


class CommentExperiment(Struct, frozen=True, kw_only=True):
    id: int
    text: str  #: Markdown; ``@name`` mentions somebody


class SearchExperiments(Struct, frozen=True, kw_only=True):
    filter: str = ""
    order: list[str] = field(default_factory=list)  #: by default the newest first
    view: View = View.ACTIVE
    limit: int = 1_000
    token: str = ""


class Experiments(Struct, frozen=True, kw_only=True):
    experiments: list[Experiment]
    next: str = ""  #: token of the next page; empty: there is none


# -- writing runs -----------------------------------------------------------------------


class Start(Struct, frozen=True, kw_only=True):
    experiment: str = ""  #: name; made if it is not there
    experiment_id: int | None = None  #: instead of the name; must be there
    id: str | None = None  #: give one to be able to go on with the same run after a crash
    name: str = ""
    parent: str | None = None  #: id of the run this one is nested in
    status: Status = Status.RUNNING
    started_at: datetime | None = None  #: None: now
    params: dict[str, Value] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, int] = field(default_factory=dict)  #: dataset name: version
    code: Code | None = None
    environment: str | None = None
    actor: str | None = None  #: whom a foreign client names; None: who asks


class Log(Struct, frozen=True, kw_only=True):
    run: str
    points: list[Point] = field(default_factory=list)
    params: dict[str, Value] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, int] = field(default_factory=dict)
    datasets: list[Dataset] = field(default_factory=list)
    uses: list[Link] = field(default_factory=list)
    outputs: list[Link] = field(default_factory=list)
    artifacts: dict[str, Artifact] = field(default_factory=dict)  #: by path
    code: Code | None = None
    environment: str | None = None
    replace: bool = False  #: whether params may change; otherwise that is a `Conflict`
    late: bool = False  #: whether an ended run takes points and params too


class Logged(Struct, frozen=True, kw_only=True):
    run: str
    points: int


class Append(Struct, frozen=True, kw_only=True):
    """Points in columns. Written twice (same source and position) they are kept once."""

    run: str
    series: list[Series]
    source: str = ""  #: what numbers its batches, e.g. a log file's id; empty: not numbered
    position: int = 0  #: grows from batch to batch of a source; a known one is skipped
    late: bool = True  #: whether an ended run takes them


class Forget(Struct, frozen=True, kw_only=True):
    """Take values from a run: tags by name, artifacts by path."""

    run: str
    tags: list[str] = field(default_factory=list)
    artifacts: list[str] = field(default_factory=list)  #: a path or a folder


class UpdateRun(Struct, frozen=True, kw_only=True):
    """Change what is given. Any status may follow any: foreign clients resume ended runs."""

    run: str
    name: str | None = None
    status: Status | None = None
    started_at: datetime | None = None  #: of a run that is told of later
    ended_at: datetime | UnsetType | None = UNSET
    error: str | None = None


class Finish(Struct, frozen=True, kw_only=True):
    run: str
    error: str = ""  #: if not empty, the run failed with it


class OneRun(Struct, frozen=True, kw_only=True):
    run: str


class CommentRun(Struct, frozen=True, kw_only=True):
    run: str
    text: str  #: Markdown; ``@name`` mentions somebody


class Collect(Struct, frozen=True, kw_only=True):
    """Free what deleted runs and experiments hold."""

    older_than: float = 0  #: seconds since deletion
    runs: list[str] = field(default_factory=list)  #: only these; empty: all deleted ones
    dry: bool = False  #: count, free nothing


class Collected(Struct, frozen=True, kw_only=True):
    runs: int
    experiments: int
    points: int
    objects: int  #: files in the object store that nothing names any more
    bytes: int  #: of those objects and of the points


class KeepRuns(Struct, frozen=True, kw_only=True):
    """How long runs are kept."""

    experiment: str | None = None  #: None: of all experiments that have no rule of their own
    days: int | None = None  #: since they ended; None: for ever
    tags: list[str] = field(default_factory=lambda: ["keep"])  #: a run with one stays for ever
    drop: bool = False  #: have no rule any more
    reason: str


class ListRules(Struct, frozen=True, kw_only=True):
    pass


class RunRules(Struct, frozen=True, kw_only=True):
    rules: list[RunRule]


class Expire(Struct, frozen=True, kw_only=True):
    at_most: int = 500  #: runs, in this transaction
    dry: bool = False  #: only say what would go, all of it


class Expired(Struct, frozen=True, kw_only=True):
    runs: int  #: deleted, and can be restored
    experiments: dict[str, int]  #: by name: how many of them
    more: bool = False  #: whether there are more to go


# -- reading runs -----------------------------------------------------------------------


class ListRuns(Struct, frozen=True, kw_only=True):
    experiment: str | None = None
    limit: int = 100


class Runs(Struct, frozen=True, kw_only=True):
    runs: list[Run]
    next: str = ""  #: token of the next page; empty: there is none


class SearchRuns(Struct, frozen=True, kw_only=True):
    """Runs by a filter, e.g. ``metrics.auc > 0.7 AND params.leaves = '31'``."""

    experiments: list[str] = field(default_factory=list)  #: names; with the ids, both empty: all
    experiment_ids: list[int] = field(default_factory=list)
    filter: str = ""
    order: list[str] = field(default_factory=list)  #: e.g. ``metrics.auc DESC``; newest first
    view: View = View.ACTIVE
    limit: int = 1_000
    token: str = ""  #: of the page before
    latest: bool = False  #: whether `Run.latest` is wanted, not only `Run.metrics`


class ShowRun(Struct, frozen=True, kw_only=True):
    run: str


class Curve(Struct, frozen=True, kw_only=True):
    run: str
    metric: str
    at_most: int = 2_000  #: points; a longer curve is thinned evenly


class Points(Struct, frozen=True, kw_only=True):
    points: list[Point]  #: by step, one each: the last


class History(Struct, frozen=True, kw_only=True):
    """Every point of one metric, by (step, at)."""

    run: str
    metric: str
    first_step: int | None = None
    last_step: int | None = None
    limit: int | None = None  #: points
    offset: int = 0


class Histories(Struct, frozen=True, kw_only=True):
    """Curves of many runs at once, each thinned to bands of at most so many items."""

    runs: list[str]
    metrics: list[str]
    at_most: int = 400
    first_step: int | None = None
    last_step: int | None = None


class RunCurve(Struct, frozen=True, kw_only=True):
    run: str
    metric: str
    points: int  #: that the band stands for
    band: Band


class Curves(Struct, frozen=True, kw_only=True):
    curves: list[RunCurve]  #: in the order of runs, then of metrics; those without points left out


class Tail(Struct, frozen=True, kw_only=True):
    """What came after a cursor, whatever its step. May repeat points, never misses one."""

    run: str
    after: int = 0  #: 0: from now on, which answers a cursor and no points
    metrics: list[str] = field(default_factory=list)  #: empty: all


class Tailed(Struct, frozen=True, kw_only=True):
    run: str
    status: Status
    cursor: int  #: for the next call
    series: list[Series]


class MetricNames(Struct, frozen=True, kw_only=True):
    """Names that runs of an experiment use."""

    experiments: list[str] = field(default_factory=list)  #: empty: all
    like: str = ""  #: part of the name
    limit: int = 1_000


class Names(Struct, frozen=True, kw_only=True):
    metrics: list[str]
    params: list[str]
    tags: list[str]


class ListArtifacts(Struct, frozen=True, kw_only=True):
    run: str
    under: str = ""  #: a folder; files in folders below it are included


class Artifacts(Struct, frozen=True, kw_only=True):
    artifacts: dict[str, Artifact]  #: by path, sorted


class Compare(Struct, frozen=True, kw_only=True):
    runs: list[str]


class Comparison(Struct, frozen=True, kw_only=True):
    runs: list[Run]  #: in the order asked for
    differences: list[Difference]
