"""What is known of a job in memory, and how it may end."""

from msgspec.structs import replace

from setpoint.errors import SetpointError
from setpoint.serve import problems
from setpoint.serve.exchange import Reply
from setpoint.serve.jobs.entities import Job, Outcome, State
from setpoint.serve.rest import invocations


class Entry:
    """A job; its request and answer are on the disk."""

    def __init__(self, job: Job) -> None:
        self.id = job.id
        self.model = job.model
        self.rows = job.rows
        self.bytes = job.bytes
        self.accepted_us = job.accepted_us
        self.sent = job.sent
        self.put = job.sent.output if job.sent else ""  #: where its answer is put; empty: nowhere
        self.started_us = self.ended_us = 0
        self.state = State.QUEUED
        self.error = ""
        self.decided = False  #: whether it is settled how it ends
        self.dropped = False  #: whether its scoring was given up for that

    @classmethod
    def of(cls, outcome: Outcome) -> "Entry":
        """Return what is known of a job that ended."""
        found = cls.__new__(cls)
        found.id, found.model, found.rows = outcome.id, outcome.model, outcome.rows
        found.bytes, found.decided, found.dropped, found.sent = 0, True, False, None
        found.accepted_us = outcome.accepted_us
        found.ended(outcome)
        return found

    def ended(self, outcome: Outcome) -> None:
        """Note how it ended."""
        self.started_us, self.ended_us = outcome.started_us, outcome.ended_us
        self.state, self.error, self.put = outcome.state, outcome.error, outcome.put

    def outcome(self, state: State, reply: Reply, now_us: int) -> Outcome:
        """Return how it ended, if with this reply."""
        put = ""
        if self.sent is not None:
            put = self.sent.output if state is State.DONE else self.sent.failure
        return Outcome(
            id=self.id,
            model=self.model,
            state=state,
            rows=self.rows,
            accepted_us=self.accepted_us,
            started_us=self.started_us,
            ended_us=now_us,
            status=reply.status,
            kind=reply.kind,
            headers=list(reply.headers),
            put=put,
        )

    def unanswered(self, state: State, error: SetpointError, now_us: int) -> tuple[Outcome, bytes]:
        """Return how it ended without an answer, and what is put in the place of one."""
        reply = invocations.failed_named(problems.status_of(error), error)
        found = self.outcome(state, reply, now_us)
        if state is State.FAILED:
            found = replace(found, error=problems.said(error))
        return found, reply.body if found.put else b""
