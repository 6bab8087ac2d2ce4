"""Scoring what is missing of a batch: here, or by several processes."""

import os
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from setpoint.config import Settings, environment
from setpoint.core.clock import clock_of
from setpoint.core.problems import Problem, to_error
from setpoint.errors import Conflict, Invalid, Unavailable
from setpoint.serve import handover
from setpoint.serve.batch import scoring
from setpoint.serve.batch.entities import Plan
from setpoint.serve.batch.source import Features, Table, require_unchanged
from setpoint.serve.batch.work import Work, segment
from setpoint.serve.endpoints import Endpoint
from setpoint.serve.log import LogWriter

Told = Callable[[int], None]  #: called with the rows of each chunk that became complete


class Said(msgspec.Struct, frozen=True):
    """A line of a helper: rows that it scored, or why it cannot go on."""

    rows: int = 0
    problem: Problem | None = None


def missing(settings: Settings, work: Work, plan: Plan) -> list[int]:
    """Return the chunks to score; those that are complete are given to the log, if not before."""
    done = work.done()
    if plan.asked.log:
        for number in sorted(done):
            handover.release(settings.log, segment(plan, number))
    return [number for number in range(plan.chunks) if number not in done]


def score(
    settings: Settings,
    work: Work,
    plan: Plan,
    endpoint: Endpoint,
    numbers: Sequence[int],
    told: Told,
    *,
    features: Features | None,
) -> None:
    """Score chunks in this process, in order.

    Args:
        settings: The store.
        work: What they are of.
        plan: What was decided.
        endpoint: The version, loaded.
        numbers: The chunks.
        told: Called as each becomes complete.
        features: What makes inputs of rows; None: the table has them.

    Raises:
        Invalid: If the input changed, or holds what the model does not take.
        SetpointError: If the model failed.
        Unavailable: If the disk is full. Whatever it was, what is complete stays so.
    """
    clock = clock_of(settings.home)
    table = Table(plan.asked, endpoint.inputs, features)
    for begin, end in _runs(numbers):
        first, stop = begin * plan.chunk, min(end * plan.chunk, plan.rows)
        frames = table.chunks(first, stop, plan.chunk)
        for number in range(begin, end):
            frame = next(frames, None)
            if frame is None or len(frame) != plan.size(number):
                raise Invalid(f"{plan.asked.source.said} changed while it was read")
            at, row = clock.now(), number * plan.chunk
            ids = scoring.ids_of(plan, row, frame)
            part = scoring.score(endpoint, table.rows(frame))
            if part is not None and plan.asked.log:
                name = segment(plan, number)
                lines = scoring.records(endpoint, part, ids, name, at)
                handover.write(settings.log, name, lines)
            work.save(plan, number, scoring.output(plan, endpoint, frame, ids, at, part))
            if plan.asked.log:
                handover.release(settings.log, segment(plan, number))
            told(len(frame))


def score_by(
    settings: Settings,
    work: Work,
    numbers: Sequence[int],
    told: Told,
    *,
    workers: int,
    lock: int,
) -> None:
    """Score chunks by several processes, each a part of the table.

    Args:
        settings: The store.
        work: What they are of.
        numbers: The chunks.
        told: As above.
        workers: How many processes.
        lock: The descriptor that holds the work: they hold it as long as they live.

    Raises:
        SetpointError: As one of them did; the others are ended then.
    """
    size = -(-len(numbers) // workers)
    shares = [numbers[at : at + size] for at in range(0, len(numbers), size)]
    helpers = [_helper(settings, work, share, workers, lock) for share in shares]
    try:
        for said in _lines(helpers):
            if said.problem is not None:
                raise to_error(said.problem)
            told(said.rows)
        for helper in helpers:
            if helper.wait() != 0:
                raise Unavailable(
                    f"a process of the batch ended with {helper.returncode}",
                    hint="run it again: it goes on where it was; is there memory enough?",
                )
    finally:
        for helper in helpers:
            helper.kill()
            helper.wait()
            if helper.stdout is not None:
                helper.stdout.close()


def finish(work: Work, plan: Plan) -> None:
    """Make the output of what is complete.

    Raises:
        Invalid: If the input changed meanwhile.
        Unavailable: If the disk is full.
    """
    require_unchanged(plan.asked.source)
    work.finish(plan)


def hand_over(log: Path) -> None:
    """Have the log take what waits for it; where a server holds the log, it does so itself."""
    if handover.ready(log):
        with suppress(Conflict):
            LogWriter(log).close()


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield chunks that follow one another, from one to before another."""
    begin = end = -1
    for number in numbers:
        if number != end:
            if end >= 0:
                yield begin, end
            begin = number
        end = number + 1
    if end >= 0:
        yield begin, end


def _helper(
    settings: Settings, work: Work, share: Sequence[int], workers: int, lock: int
) -> "subprocess.Popen[bytes]":
    words = [sys.executable, "-m", "setpoint.cli.batch_worker"]
    words += ["--home", str(settings.home), "--output", str(work.output)]
    words += ["--chunks", ",".join(f"{begin}-{end}" for begin, end in _runs(share))]
    words += ["--with-parent", str(os.getpid())]
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    return subprocess.Popen(  # noqa: S603 - our own module
        words,
        env={**environment(settings), "POLARS_MAX_THREADS": threads},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        pass_fds=[lock],
        start_new_session=True,  # a Ctrl-C is its parent's to hear
    )


def _lines(helpers: Sequence["subprocess.Popen[bytes]"]) -> Iterator[Said]:
    """Yield what helpers say, whichever speaks first, until all have ended."""
    decode = msgspec.json.Decoder(Said).decode
    with selectors.DefaultSelector() as ready:
        for helper in helpers:
            assert helper.stdout is not None  # noqa: S101 - it is a pipe
            ready.register(helper.stdout.fileno(), selectors.EVENT_READ)
        rest = dict.fromkeys([key.fd for key in ready.get_map().values()], b"")
        while ready.get_map():
            for key, _ in ready.select():
                data = os.read(key.fd, 65536)
                if not data:
                    ready.unregister(key.fd)
                    continue
                *lines, rest[key.fd] = (rest[key.fd] + data).split(b"\n")
                yield from map(decode, lines)
