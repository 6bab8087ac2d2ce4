"""The folder of a batch that is not done: what was decided, and the chunks that are complete.

``OUTPUT.partial`` holds the plan and, in ``parts``, one Parquet file a chunk. A chunk is complete
when its file has its name, which it gets by a rename, once: whatever is killed, its rows are either
all there or none is. Then its segment is given to the prediction log (see `serve.handover`), by a
rename as well, and again at the next start if that was not reached.
"""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import polars as pl
from polars.exceptions import PolarsError

from setpoint.errors import Conflict, NotFound, SetpointError, Unavailable
from setpoint.serve import handover
from setpoint.serve.batch.entities import FORMAT, Asked, Plan
from setpoint.serve.frames import sync_folder

_PLAN = "batch.json"
_LOCK = "lock"
_METADATA = "setpoint.batch"
_PATIENCE_SECONDS = 5.0  #: what the helpers of a batch that was killed need to end


class Work:
    """What becomes of one output."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.folder = output.with_name(output.name + ".partial")
        self._parts = self.folder / "parts"
        self.single = output.suffix.lower() in {".parquet", ".pq"}  #: one file, no folder of them

    @contextlib.contextmanager
    def held(self) -> Iterator[int]:
        """Hold the folder for one batch; give the descriptor that holds it, for helpers to keep.

        Raises:
            Conflict: If another process is at work on this output.
            Unavailable: If the folder cannot be made.
        """
        if not self.output.absolute().parent.is_dir():
            raise NotFound(f"there is no folder {self.output.absolute().parent}", hint="make it")
        lock = self._locked()
        try:
            yield lock
        finally:
            with contextlib.suppress(OSError):  # nothing was begun, or all is done
                if [path.name for path in self.folder.iterdir()] == [_LOCK]:
                    shutil.rmtree(self.folder)
            os.close(lock)

    def _locked(self) -> int:
        end = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                self.folder.mkdir(exist_ok=True)
                lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise _no_room(error, self.folder) from None
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if (self.folder / _LOCK).stat().st_ino == os.fstat(lock).st_ino:
                    return lock  # and nobody has cleared the folder away meanwhile
            os.close(lock)
            if time.monotonic() > end:
                raise Conflict(
                    f"another process is scoring into {self.output}",
                    hint="wait for it, or choose another --output",
                )
            time.sleep(0.05)

    def plan(self) -> Plan | None:
        """Return what was begun here and is not done.

        Raises:
            Conflict: If a later Setpoint began it.
        """
        try:
            return _decoded((self.folder / _PLAN).read_bytes())
        except FileNotFoundError:
            return None

    def finished(self) -> Plan | None:
        """Return what the output was made by; None if it was not made here, or is not there."""
        try:
            made = self.output / _part(0) if self.output.is_dir() else self.output
            said = pl.read_parquet_metadata(made).get(_METADATA)
        except (OSError, PolarsError):
            return None
        return None if said is None else _decoded(said.encode())

    def begin(self, plan: Plan) -> None:
        """Write down what was decided."""
        self._empty()
        try:
            self._parts.mkdir()
        except OSError as error:
            raise _no_room(error, self.folder) from None
        self._write(_PLAN, msgspec.json.encode(plan))

    def done(self) -> set[int]:
        """Return the numbers of the chunks that are complete."""
        return {int(path.stem.removeprefix("part-")) for path in self._parts.glob("part-*.parquet")}

    def save(self, plan: Plan, number: int, rows: pl.DataFrame) -> None:
        """Complete a chunk.

        Raises:
            Unavailable: If the disk is full; the chunk is not complete then.
        """
        aside = self.folder / f"{number:08d}.new"
        try:
            with aside.open("wb") as file:
                rows.write_parquet(file, metadata=_receipt(plan))
                file.flush()
                os.fsync(file.fileno())
            aside.rename(self._parts / _part(number))
            sync_folder(self._parts)
        except (OSError, PolarsError) as error:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
            raise _no_room(error, self.folder) from None

    def finish(self, plan: Plan) -> None:
        """Make the output of the chunks, whole at once, and clear the folder away.

        Raises:
            Unavailable: If the disk is full; the chunks stay.
        """
        try:
            made = self._joined(plan) if self.single else self._parts
            if self.output.exists() and not (self.single and self.output.is_file()):
                _remove(self.output)
            made.rename(self.output)
            sync_folder(self.output.absolute().parent)
        except (OSError, PolarsError) as error:
            raise _no_room(error, self.output) from None
        self.clear()

    def clear(self) -> None:
        """Clear away what is left of a batch that is done."""
        self._empty()

    def discard(self, log: Path) -> None:
        """Forget what was begun: what it did not give to the log goes as well."""
        plan = self.plan()
        if plan is not None:
            handover.discard(log, f"{plan.id}.")
        self._empty()

    def _empty(self) -> None:
        for left in self.folder.iterdir():
            if left.name != _LOCK:
                _remove(left)

    def _joined(self, plan: Plan) -> Path:
        whole = self.folder / "whole.new"
        parts = [str(self._parts / _part(number)) for number in range(plan.chunks)]
        frame = pl.scan_parquet(parts, glob=False, hive_partitioning=False)
        frame.sink_parquet(
            whole,
            metadata=_receipt(plan),
            maintain_order=True,
            sync_on_close="all",
        )
        return whole

    def _write(self, name: str, data: bytes) -> None:
        aside = self.folder / f"{name}.new"
        try:
            with aside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.rename(self.folder / name)
            sync_folder(self.folder)
        except OSError as error:
            raise _no_room(error, self.folder) from None


def decide(work: Work, asked: Asked, log: Path, *, overwrite: bool) -> tuple[Plan | None, bool]:
    """Return the batch to go on with, and whether it is done; None: a new one is to be begun.

    Raises:
        Conflict: If the output, or what is left of a batch that was not done, is another's.
    """
    begun, finished = work.plan(), work.finished()
    if begun is not None and begun.asked == asked:
        return begun, finished is not None and finished.id == begun.id
    if begun is None and finished is not None and finished.asked == asked and not overwrite:
        return finished, True
    if not overwrite:
        if begun is not None:
            raise Conflict(
                f"{work.folder} is of a batch that was asked for otherwise",
                where=_difference(begun.asked, asked),
                hint="go on with its arguments, or begin anew with --overwrite",
            )
        if work.output.exists():
            where = "" if finished is None else _difference(finished.asked, asked)
            raise Conflict(
                f"{work.output} is there already",
                where=where,
                hint="choose another --output, or replace it with --overwrite",
            )
    work.discard(log)
    return None, False


def segment(plan: Plan, number: int) -> str:
    """Return the name of a chunk's segment while it waits for the log."""
    return f"{plan.id}.{number:08d}"


def _part(number: int) -> str:
    return f"part-{number:08d}.parquet"


def _receipt(plan: Plan) -> dict[str, str]:
    """Return what the output says of itself."""
    return {_METADATA: msgspec.json.encode(plan).decode()}


def _difference(was: Asked, now: Asked) -> str:
    """Return what is asked for otherwise, in words."""
    names = [name for name in Asked.__struct_fields__ if getattr(was, name) != getattr(now, name)]
    if names == ["source"] and was.source.said == now.source.said:
        return f"{now.source.said} has changed since"
    return "differs in: " + ", ".join("input" if name == "source" else name for name in names)


def _decoded(said: bytes) -> Plan:
    try:
        if msgspec.json.decode(said, type=dict).get("format", FORMAT) <= FORMAT:
            return msgspec.json.decode(said, type=Plan)
    except msgspec.MsgspecError:
        pass
    raise Conflict("this batch was begun by another version of Setpoint", hint="use --overwrite")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _no_room(error: Exception, where: Path) -> SetpointError:
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)[:200]
    return Unavailable(
        "the output cannot be written",
        where=f"{where}: {said}",
        hint="free disk space, then run it again: it goes on where it was",
    )
