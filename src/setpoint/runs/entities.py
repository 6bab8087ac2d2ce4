"""What tracking keeps: experiments, their runs, and the series a run measured."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct, field

Value = str | int | float | bool | None  #: of a parameter


class Status(StrEnum):
    SCHEDULED = "scheduled"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    KILLED = "killed"

    @property
    def ended(self) -> bool:
        return self in {Status.FINISHED, Status.FAILED, Status.KILLED}


class Lifecycle(StrEnum):
    ACTIVE = "active"
    DELETED = "deleted"  #: out of every list, restorable until the garbage is collected


class View(StrEnum):
    """Which lifecycles a search returns."""

    ACTIVE = "active"
    DELETED = "deleted"
    ALL = "all"


class Experiment(Struct, frozen=True, kw_only=True):
    """What groups runs that answer one question, e.g. by a model's name."""

    id: int  #: 0 is the one called "Default"
    name: str  #: unique, deleted ones included
    lifecycle: Lifecycle
    created_at: datetime
    updated_at: datetime
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def ref(self) -> str:
        """How events name it."""
        return f"experiment:{self.name}"


class RunRule(Struct, frozen=True, kw_only=True):
    """How long runs are kept, and which for ever."""

    experiment: str | None  #: whose; None: of all experiments that have no rule of their own
    days: int | None  #: since they ended; None: for ever
    tags: list[str] = field(default_factory=list)  #: names: a run that has one stays for ever
    actor: str
    at: datetime
    reason: str


class Code(Struct, frozen=True, kw_only=True):
    """Which code ran."""

    commit: str | None = None  #: git commit; None outside a repository
    dirty: bool = False  #: whether tracked files differed from the commit
    diff: str | None = None  #: address of that difference, as `git apply` takes it
    snapshot: str | None = None  #: address of the manifest {path: address} of the project's code
    files: int = 0  #: in the snapshot


class Environment(Struct, frozen=True, kw_only=True):
    """What it ran on."""

    python: str
    platform: str
    machine: str
    cpus: int
    distributions: list[str]  #: ``name==version``, sorted


class Point(Struct, frozen=True, kw_only=True):
    """One value of one metric. NaN and infinities are values like any other."""

    name: str
    value: float
    step: int = 0
    at: datetime | None = None  #: when it was measured; None: when it is written


class Series(Struct, frozen=True, kw_only=True):
    """Points of one metric in columns: little-endian, one item a point, equally long."""

    name: str
    steps: bytes  #: int64
    at: bytes  #: int64, microseconds since 1970
    values: bytes  #: float64

    def __len__(self) -> int:
        return len(self.values) // 8


class Latest(Struct, frozen=True, kw_only=True, gc=False):
    """A metric's last point, last by (step, at), and its extremes."""

    value: float
    step: int
    at: datetime
    min: float  #: over values that are numbers; NaN where there is none
    max: float
    count: int  #: points written; a point written twice counts once when its chunk is merged


class Band(Struct, frozen=True, kw_only=True):
    """A curve drawn from fewer items than it has points: each covers a stretch of steps.

    All columns are as `Series` has them, one item a stretch. A stretch without a number has
    NaN as its extremes.
    """

    steps: bytes  #: int64, the last step of the stretch
    at: bytes  #: int64, microseconds, of its last point
    last: bytes  #: float64, the value at its last step
    low: bytes  #: float64
    high: bytes  #: float64

    def __len__(self) -> int:
        return len(self.last) // 8


class Artifact(Struct, frozen=True, kw_only=True):
    """A file a run left: what a path stands for."""

    address: str  #: in the object store
    size: int = 0  #: bytes


class Dataset(Struct, frozen=True, kw_only=True):
    """Data a run read. The same name, digest and source are kept once for all runs."""

    name: str
    digest: str  #: of a dataset version of Setpoint: its number
    source_type: str = ""  #: "setpoint" for a dataset version of Setpoint
    source: str = ""
    schema: str = ""
    profile: str = ""
    context: str = ""  #: what it was read for: training, evaluation, …
    tags: dict[str, str] = field(default_factory=dict)


class Link(Struct, frozen=True, kw_only=True):
    """A thing beside datasets that a run used or made, by a name its protocol knows."""

    kind: str  #: model, artifact, …
    ref: str
    step: int = 0


class Run(Struct, frozen=True, kw_only=True):
    """One execution."""

    id: str  #: 1 to 256 of A-Z a-z 0-9 _ - . :
    experiment: str  #: its name
    status: Status
    started_at: datetime
    ended_at: datetime | None = None
    actor: str = ""
    experiment_id: int = 0
    name: str = ""  #: for people; need not be unique
    parent: str | None = None  #: id of the run it is nested in
    lifecycle: Lifecycle = Lifecycle.ACTIVE
    deleted_at: datetime | None = None
    params: dict[str, Value] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)  #: the value at the last step
    latest: dict[str, Latest] = field(default_factory=dict)  #: when asked for: metrics in full
    inputs: dict[str, int] = field(default_factory=dict)  #: dataset of Setpoint: version
    datasets: list[Dataset] = field(default_factory=list)  #: all inputs, those of `inputs` too
    uses: list[Link] = field(default_factory=list)
    outputs: list[Link] = field(default_factory=list)
    code: Code | None = None  #: None: not recorded
    environment: str | None = None  #: address of the `Environment` as JSON
    artifacts: dict[str, Artifact] = field(default_factory=dict)  #: when asked for; by path
    error: str = ""  #: what a failed run failed with

    @property
    def ref(self) -> str:
        """How events and lineage name it."""
        return f"run:{self.id}"


class Difference(Struct, frozen=True, kw_only=True):
    """One thing that is not the same in all runs compared; None where a run lacks it."""

    kind: str  #: param, metric, input, tag, code, environment
    name: str
    values: list[Any]  #: in the order of the runs
