"""What a run is: one execution with everything that went in and came out."""

from datetime import datetime
from enum import StrEnum

from msgspec import Struct, field

Value = str | int | float | bool | None  #: of a parameter


class Status(StrEnum):
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


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


class Run(Struct, frozen=True, kw_only=True):
    """One execution."""

    id: str
    experiment: str  #: what groups runs that answer one question, e.g. a model's name
    status: Status
    started_at: datetime
    ended_at: datetime | None = None
    actor: str = ""
    params: dict[str, Value] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)  #: the value at the last step
    inputs: dict[str, int] = field(default_factory=dict)  #: dataset name: version
    code: Code | None = None  #: None: not recorded
    environment: str | None = None  #: address of the `Environment` as JSON
    artifacts: dict[str, str] = field(default_factory=dict)  #: path: address
    error: str = ""  #: what a failed run failed with

    @property
    def ref(self) -> str:
        """How events and lineage name it."""
        return f"run:{self.id}"


class Difference(Struct, frozen=True, kw_only=True):
    """One thing that is not the same in all runs compared; None where a run lacks it."""

    kind: str  #: param, metric, input, tag, code, environment
    name: str
    values: list[Value]  #: in the order of the runs
