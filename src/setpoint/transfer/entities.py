"""What a foreign store holds, said the same way for all of them."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from msgspec import Struct, field

from setpoint.models.registry.entities import Stage
from setpoint.runs.columns import Columns
from setpoint.runs.entities import Dataset, Status, Value

#: Told what is on its way: how many are done, of how many if that is known, the next one's name.
Told = Callable[[int, int | None, str], object]


def untold(_done: int, _all: int | None, _name: str) -> None:
    """Tell nobody."""


class SourceRun(Struct, frozen=True, kw_only=True):
    """A run as its own store knows it."""

    id: str  #: unique among all stores of its kind
    experiment: str
    status: Status
    started_at: datetime
    name: str = ""
    ended_at: datetime | None = None
    deleted: bool = False
    actor: str = ""
    parent: str | None = None  #: its id in that store
    params: dict[str, Value] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    datasets: list[Dataset] = field(default_factory=list)
    error: str = ""


class SourceFile(Struct, frozen=True, kw_only=True):
    """A file a run left, not read yet."""

    path: str  #: relative, with forward slashes
    chunks: Callable[[], Iterator[bytes]]


class Left(Struct, frozen=True, kw_only=True, order=True):
    """Something that was not brought over, and why."""

    run: str  #: its id in its store
    what: str
    why: str


class Content(Struct, frozen=True, kw_only=True):
    """What one run measured and left."""

    series: Iterator[tuple[str, Columns]]  #: in the same order and pieces whenever it is read
    files: Iterator[SourceFile]
    left: list[Left] = field(default_factory=list)  #: complete once both were read to the end


class SourceVersion(Struct, frozen=True, kw_only=True):
    """A version of a registered model as its own store knows it."""

    number: int
    source: str  #: URI of its files, as that store says it
    run: str = ""  #: id there of the run that made it
    within: str | None = None  #: where its files are among those of the run; None: elsewhere
    files: Callable[[list[Left]], Iterator[SourceFile]]  #: those that are elsewhere
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    stage: Stage = Stage.NONE
    status: str = "ready"  #: or pending or failed
    status_message: str = ""
    run_link: str = ""


class SourceModel(Struct, frozen=True, kw_only=True):
    """A registered model as its own store knows it."""

    name: str
    versions: list[SourceVersion]  #: the oldest first; deleted ones are not among them
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)  #: numbers of versions there


@runtime_checkable
class Registry(Protocol):
    """A source that has registered models, too."""

    def models(self) -> Sequence[SourceModel]:
        """Return every registered model. After `runs`."""


class Source(Protocol):
    """A store of runs that is read and never written."""

    kind: str
    where: str  #: as the user named it

    def runs(self) -> Sequence[SourceRun]:
        """Return every run.

        Raises:
            NotFound: If there is no such store.
            Invalid: If it is none of this kind, or damaged where that cannot be skipped.
        """

    def experiments(self) -> dict[str, dict[str, str]]:
        """Return the tags of experiments by name, of those that have any. After `runs`."""

    def content(self, run: SourceRun) -> Content:
        """Return what `runs` leaves out. Read it once, in order."""

    def left(self) -> list[Left]:
        """Return what belongs to no run that was returned."""

    def close(self) -> None:
        """Give back what was opened for reading."""


class Report(Struct, frozen=True, kw_only=True):
    """What an import did. Counts are of what is in the store now because of it."""

    kind: str
    where: str
    runs: int = 0  #: in the source
    brought: int = 0  #: by this call, whole
    known: int = 0  #: whole from an earlier call
    points: int = 0
    files: int = 0
    bytes: int = 0  #: of the files
    models: int = 0  #: registered ones in the source
    versions: int = 0  #: of them: brought by this call
    versions_known: int = 0  #: brought by an earlier call
    left: list[Left] = field(default_factory=list)


class Sent(Struct, frozen=True, kw_only=True):
    """What an export did."""

    to: str
    runs: int = 0  #: written by this call
    known: int = 0  #: there from an earlier call
    points: int = 0
    files: int = 0
    bytes: int = 0  #: of the files
    models: int = 0  #: registered ones
    versions: int = 0  #: of them: written by this call
    versions_known: int = 0  #: there from an earlier call
    left: list[Left] = field(default_factory=list)
