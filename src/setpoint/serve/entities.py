"""What the data plane knows: deployments, and the kinds of line in its log."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from msgspec import Struct


class Role(StrEnum):
    """What a deployed version does with the traffic of its endpoint."""

    LIVE = "live"  #: answers; exactly one per endpoint
    CANARY = "canary"  #: answers its share of the rows; the live version scores them too
    SHADOW = "shadow"  #: answers nobody; scores every row after the answer was sent
    FALLBACK = "fallback"  #: never deployed: the live version failed, its baseline answered
    BATCH = "batch"  #: never deployed: scored a table, whatever it is deployed as
    NAMED = "named"  #: never deployed: answers who asks for it by its number or an alias
    ARM = "arm"  #: answers the keys of a test that runs apart from releases
    TEST = "test"  #: never deployed: a tester named who answers, whatever it is deployed as


class Deployment(Struct, frozen=True, kw_only=True):
    """One version behind an endpoint."""

    model: str
    version: int
    role: Role
    weight: float  #: share of rows it answers, 0 to 1; the live version has the rest


class SplitArm(Struct, frozen=True, kw_only=True):
    """One arm of a test: a version with a share of the keys, as long as somebody wants."""

    name: str
    version: int
    #: where its keys lie on [0, 1), in millionths: ``(from, before)``, rising and apart
    spans: list[tuple[int, int]]

    @property
    def share(self) -> float:
        """The share of keys it answers, 0 to 1."""
        return sum(end - start for start, end in self.spans) / 1_000_000


class Process(StrEnum):
    """Where the models of an endpoint run."""

    SHARED = "shared"  #: in the server's own process
    OWN = "own"  #: in one of theirs, which may crash, hang and be killed


class Swap(StrEnum):
    """What answers while a new version is loaded that does not fit beside the old one."""

    KEEP = "keep"  #: the old one; both are in memory for that time
    REPLACE = "replace"  #: nobody: the old one is given up first, and requests wait


class EndpointSettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an endpoint is to answer, as its spec in force says; each process has these limits.

    Kept as JSON without what is as by default, so that a field can be added: a server that
    does not know it leaves it alone.
    """

    concurrency: int = 1  #: calls of the model at the same time
    queue: int = 1000  #: requests that may wait for the model; the next one is refused
    timeout: float | None = None  #: seconds a request may take; None: as long as it takes
    body: int = 10_000_000  #: bytes of a request, unpacked
    memory: int | None = None  #: bytes of address space of a process of its own
    batch_rows: int = 4096  #: scored in one call
    batch_wait: float = 0.0  #: seconds for which a request waits for company
    process: Process = Process.SHARED
    versions: str = ""  #: which can be asked for besides those deployed, see `serve.naming`
    swap: Swap = Swap.KEEP
    sample: float = 1.0  #: share of predictions that are logged, 0 to 1, by their ids
    slow: float | None = None  #: seconds from which a request counts as slow; None: not judged
    redact: tuple[str, ...] = ()  #: inputs whose values are never logged, by name
    required: tuple[str, ...] = ()  #: inputs that no row of a request may lack, by name
    key_header: str = ""  #: that routing sticks to where a request gives no keys, in lower case
    key_field: str = ""  #: likewise, of a row
    fallback_value: float | None = None  #: that answers when the live version fails
    fallback_code: str = ""  #: address of a pickled function that does; empty: none
    fallback_source: str = ""  #: hash of the code that it was made of


class Wanted(Struct, frozen=True, kw_only=True):
    """What is to be behind an endpoint, and how it is to answer."""

    deployments: list[Deployment]  #: by version; none: the endpoint is gone
    settings: EndpointSettings = EndpointSettings()
    arms: list[SplitArm] = []  #: of a test that runs beside them, by name

    @property
    def versions(self) -> list[int]:
        """All that are to be behind the endpoint, each once."""
        deployed = [one.version for one in self.deployments]
        return list(dict.fromkeys([*deployed, *(arm.version for arm in self.arms)]))


class Names(Struct, frozen=True):
    """Which versions of a model can be asked for besides those deployed."""

    numbers: tuple[int, ...] = ()  #: rising
    labels: dict[str, int] = {}  #: by the aliases that name them


class Described(Struct, frozen=True, kw_only=True):
    """What is known of a version that is not in memory."""

    signature: Any  #: see `models.entities`
    size: int  #: bytes of the form that serves
    flavor: str = ""  #: of a version that serves in its native form; empty: it is compiled

    @property
    def inputs(self) -> Sequence[Any]:
        return list(self.signature.inputs)


class PredictionRecord(Struct, frozen=True, kw_only=True, tag="p", omit_defaults=True):
    """One request (or one arm's part of it) that was answered, or failed in a model."""

    at_us: int  #: microseconds since 1970 by the store's clock
    model: str
    request_id: str
    ids: list[str]  #: one prediction id a row
    versions: list[int]  #: the version that answered the row
    #: the row's arm: 0 live, 1 canary; 2: failed, the baseline answered; 3 batch; 4 named; 5 an arm
    #: of a test; 6 whom a tester named
    roles: bytes
    columns: list[str]  #: names of the numeric inputs, the columns of `values`
    values: bytes  #: float64 little-endian, row-major, rows x columns; NaN is missing
    texts: dict[str, list[str | None]] = {}  #: the BYTES inputs, by column
    scores: bytes  #: float64 per row; empty where no version could answer
    status: int = 0  #: 0 answered, else the HTTP status that the arm's failure is worth
    micros: int = 0  #: time in the server until this record was written
    fallback: bool = False  #: another answered than should have: see `failed` and `roles`
    failed: int = 0  #: the version that failed, 0 where none did
    sample: float = 1.0  #: the share of rows logged then; of what failed every row is
    unlogged: int = 0  #: rows of the same request that are not in the sample
    redacted: tuple[str, ...] = ()  #: inputs and outputs whose values were left out: null
    arm: str = ""  #: of roles 4 and 5: the arm's name, or its part in a release
    #: of a graph: which of its nodes answered and in which version, as JSON; one a row, or one
    #: for all rows
    nodes: list[str] = []
    #: what the model gave besides the score, by name: float64 packed as `values` are, as many a row
    #: as it gives; and texts, or digests of bytes and of more numbers than are kept
    given_numbers: dict[str, bytes] = {}
    given_texts: dict[str, list[str | None]] = {}


class BatchRecord(PredictionRecord, frozen=True, kw_only=True, tag="b"):
    """Rows of a table that one version scored.

    They are predictions like others, but nobody asked for them one by one and no other arm
    scores them: they say nothing about how a release or a request fares.
    """


class ShadowRecord(Struct, frozen=True, kw_only=True, tag="s"):
    """The other arm's scores of rows that were answered, for paired evidence."""

    at_us: int
    model: str
    request_id: str
    ids: list[str]
    versions: list[int]  #: the version that scored the row
    scores: bytes  #: float64 per row; empty where the version failed
    status: int = 0  #: 0, or 500 where the version failed
    micros: int = 0  #: that scoring took


class CountRecord(Struct, frozen=True, kw_only=True, tag="c", omit_defaults=True):
    """What one version did in one second with requests of which no row is logged."""

    at_us: int  #: of the first of them
    model: str
    version: int
    shadow: bool = False  #: it scored them after another one had answered
    role: int = 0  #: what it answered them as, see `PredictionRecord.roles`
    requests: int = 0  #: or parts of them
    rows: int = 0  #: of those requests
    failed: int = 0  #: requests that it failed; only ever of a shadow: other failures are logged
    slow: int = 0  #: requests that took longer than `bound`
    bound: int = 0  #: microseconds; 0: slowness was not judged

    @property
    def ids(self) -> list[str]:
        """Of what it tells row by row: of no row."""
        return []


class LabelRecord(Struct, frozen=True, kw_only=True, tag="l"):
    """The truth about predictions that were made earlier (or will be told later)."""

    at_us: int  #: when the label was delivered
    model: str
    ids: list[str]
    labels: list[float]
    sample: float = 1.0  #: the share of predictions logged when it was delivered


Record = PredictionRecord | BatchRecord | ShadowRecord | CountRecord | LabelRecord


class Position(Struct, frozen=True, order=True):
    """A place in the log: everything before it was read. Greater is later."""

    segment: int = 0
    offset: int = 0


class Place(Struct, frozen=True, omit_defaults=True):
    """How far a log was read that has any number of writers."""

    segment: int = 0  #: of the log itself
    offset: int = 0
    writers: dict[str, Position] = {}  #: and of those inside of it, by their folders

    def of(self, writer: str) -> Position:
        """Return how far one writer's log was read; ``""`` is the log itself."""
        if not writer:
            return Position(self.segment, self.offset)
        return self.writers.get(writer, Position())

    def segments_before(self) -> "Place":
        """Return the beginnings of the segments before those that are being read."""
        before = {name: Position(at.segment - 1) for name, at in self.writers.items()}
        return Place(self.segment - 1, 0, before)


class PredictionRow(NamedTuple):
    """One row for the index of predictions. A tuple, so that inserting costs no copying."""

    model: str
    id: str
    version: int
    role: str
    at_us: int
    score: float | None  #: None where the model could not answer a row with missing inputs
    arm: str | None = None  #: the arm of a test that it fell to, or the one a tester named


class Prediction(Struct, frozen=True, kw_only=True):
    """One answered row, as the index has it."""

    model: str
    id: str
    version: int
    role: Role
    at: datetime
    score: float | None
    other_version: int | None  #: the arm that scored the row without answering it
    other_score: float | None  #: None where that arm failed, or lacks an input
    label: float | None
    labelled_at: datetime | None
    arm: str | None = None  #: the arm of a test that it fell to, or the one a tester named


class ArmTally(Struct, frozen=True, kw_only=True):
    """What one arm of a test, or what is beside it, answered."""

    arm: str  #: its name; ``live`` and ``canary`` are what the others are compared with
    version: int
    rows: int
    scored: int  #: of those, with a score
    labelled: int  #: of those, with a label
    score: float | None  #: mean; None: none is there
    label: float | None  #: mean of the labels
    error: float | None  #: mean of squared differences of score and label
    error_sd: float | None  #: standard deviation of those; None below two rows

    @property
    def error_half(self) -> float | None:
        """Half of the 95% interval of `error`, rows being independent; None below two."""
        return None if self.error_sd is None else 1.96 * self.error_sd / self.labelled**0.5


class Labelled(Struct, frozen=True, kw_only=True):
    """A prediction whose label became known, or was corrected."""

    id: str
    version: int
    role: Role
    at_us: int  #: when the prediction was made
    score: float  #: NaN where the model could not answer the row
    other_version: int | None
    other_score: float | None
    label: float
    told_us: int  #: when the label was delivered
    was: float | None  #: the label before the correction; None the first time
    was_told_us: int | None  #: when that one was delivered
