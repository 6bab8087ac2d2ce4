"""What a job is. Values only."""

from enum import StrEnum

from msgspec import Struct


class State(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self in {State.DONE, State.FAILED, State.CANCELLED}


class Sent(Struct, frozen=True, kw_only=True):
    """An invocation of SageMaker's: how its body is read, and what becomes of its answer."""

    headers: dict[bytes, bytes]  #: that say how to read it and how to answer
    output: str  #: where its answer is put: ``s3://BUCKET/KEY``
    failure: str  #: where is put why it has none
    lives: int = 0  #: seconds after which nobody begins with it; 0: it waits as long as it takes
    takes: int = 0  #: seconds after which it is given up; 0: it takes as long as it takes


class Job(Struct, frozen=True, kw_only=True):
    """A request that was taken. All of it is on the disk before its client is told."""

    id: str  #: ``job_…``; later ones compare greater
    model: str
    version: int  #: the one that was asked for; 0: whichever routing says
    length: str  #: of the JSON in a body with binary tensors; empty: all of it is JSON
    rows: int
    ids: list[str]  #: prediction ids: the same however often the job is begun
    keys: list[str] = []  #: what the rows are routed by; none: their ids
    route: str = ""  #: whom a tester named
    request_id: str
    accepted_us: int  #: microseconds since 1970 by the store's clock
    bytes: int  #: of the body, which is kept behind this
    sent: Sent | None = None  #: of an invocation; else it is a request of V2


class Outcome(Struct, frozen=True, kw_only=True):
    """How a job ended. Once it is on the disk, it does not change."""

    id: str
    model: str
    state: State
    rows: int
    accepted_us: int
    started_us: int = 0  #: 0: it never was
    ended_us: int
    status: int = 200  #: of HTTP, as the request would have been answered at once
    error: str = ""  #: why it failed
    kind: bytes = b""  #: content type of the answer, which is kept behind this
    headers: list[tuple[bytes, bytes]] = []  #: the other headers of the answer
    put: str = ""  #: where in S3 the answer is put, or why there is none; empty: nowhere
