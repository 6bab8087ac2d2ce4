"""W&B's run folders: the transaction log that every run of its client writes.

The log is framed as LevelDB's (blocks of 32 KiB, pieces with a CRC-32) and holds protocol
buffers. The field numbers are those of `wandb_internal.proto`, the same since 2021; the client
need not be installed. A log that was cut off is read up to there.
"""

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

from msgspec import Struct, field

from setpoint.core.clock import from_micros
from setpoint.errors import Invalid, NotFound
from setpoint.runs.columns import Gathered
from setpoint.runs.entities import Status
from setpoint.transfer.entities import Content, Left, SourceFile, SourceRun
from setpoint.transfer.files import made, read_in_pieces, under
from setpoint.transfer.protobuf import Message
from setpoint.transfer.values import params

_HEADER = b":W&B"
_START = 7
_BLOCK = 32_768
_PIECE = struct.Struct("<IHB")  # CRC, length, kind
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_MICROS = 1_000_000

# Fields of a record, and what is in them.
_HISTORY, _SUMMARY, _CONFIG, _STATS, _ARTIFACT, _ALERT, _OUTPUT, _RUN, _EXIT, _MACHINE = (
    *(2, 3, 5, 7, 8, 10, 13, 17, 18, 26),
)
#: what says nothing about the run: numbers of requests, files that lie in the folder, telemetry
_SILENT = {1, 4, 6, 9, 11, 12, _OUTPUT, 16, 19, 20, 21, 22, 23, 24, 25, 27, 100, 200}


class _Log(Struct):
    """What a log says about its run, but for its history."""

    id: str = ""
    project: str = ""
    name: str = ""
    started_us: int = 0
    ended_us: int = 0
    exit_code: int | None = None
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    actor: str = ""
    alerts: list[dict[str, str]] = field(default_factory=list)
    artifacts: list[Message] = field(default_factory=list)
    unknown: set[int] = field(default_factory=set)
    damage: str = ""


class Wandb:
    """Run folders below a folder, or one of them, or the log of one."""

    kind = "wandb"

    def __init__(self, where: str) -> None:
        self.where = where
        path = Path(where)
        if not path.exists():
            raise NotFound(f"{where} is not there", hint="name a wandb folder, or a run's in it")
        logs = [path] if path.is_file() else sorted(path.rglob("*.wandb"))
        if not logs:
            raise NotFound(
                f"no run of W&B below {where}", hint="a run's folder holds a file run-….wandb"
            )
        self._logs: dict[str, list[Path]] = {}
        self._read: dict[str, _Log] = {}
        self._left: list[Left] = []
        for log in dict.fromkeys(each.resolve() for each in logs):
            self._take(log)

    def runs(self) -> Sequence[SourceRun]:
        return [self._run(name) for name in self._logs]

    def experiments(self) -> dict[str, dict[str, str]]:
        return {}

    def close(self) -> None:
        """Nothing stays open."""

    def left(self) -> list[Left]:
        return self._left

    def content(self, run: SourceRun) -> Content:
        found, logs = self._read[run.id], self._logs[run.id]
        left = [Left(run=run.id, what="the end of its log", why=found.damage)] * bool(found.damage)
        left += [
            Left(run=run.id, what=f"records of kind {number}", why="not known to this importer")
            for number in sorted(found.unknown)
        ]
        rest: list[str] = []
        return Content(
            series=_series(logs, found.summary, rest),
            files=_files(logs, found, rest, left),
            left=left,
        )

    def _take(self, log: Path) -> None:
        found = _head(log)
        if not found.id:
            why = found.damage or "it says nothing about a run"
            self._left.append(Left(run="", what=str(log), why=why))
            return
        name = f"{found.project}:{found.id}" if found.project else found.id
        logs = self._logs.setdefault(name, [])
        logs.append(log)  # a run that was resumed has a folder for each time
        self._read[name] = _joined(self._read.get(name), found)

    def _run(self, name: str) -> SourceRun:
        found = self._read[name]
        status = Status.KILLED if found.exit_code is None else Status.FINISHED
        if found.exit_code:
            status = Status.FAILED
        return SourceRun(
            id=name,
            experiment=found.project,
            name=found.name,
            status=status,
            started_at=from_micros(found.started_us),
            ended_at=_time(found.ended_us),
            actor=found.actor,
            params=params({k: v for k, v in found.config.items() if k != "_wandb"}),
            tags=found.tags,
            error=f"exit code {found.exit_code}" if found.exit_code else "",
        )


def _head(log: Path) -> _Log:
    found = _Log()
    try:
        for record in _records(log):
            _hear(found, record)
    except Invalid as error:
        found.damage = error.message
    return found


def _hear(log: _Log, record: Message) -> None:
    for number in record.numbers():
        if number in _HEARD:
            _HEARD[number](log, record.message(number))
        elif number not in _SILENT:
            log.unknown.add(number)


def _begin(log: _Log, run: Message) -> None:
    log.id, log.project, log.name = run.text(1), run.text(3), run.text(8)
    log.started_us = log.started_us or _micros(run.message(17))
    _items(log.config, run.message(4))
    named = {"group": run.text(6), "job_type": run.text(7), "notes": run.text(9)}
    named |= {"sweep": run.text(12), "host": run.text(13)}
    log.tags |= {name: value for name, value in named.items() if value}
    log.tags |= dict.fromkeys(run.texts(10), "")


def _end(log: _Log, end: Message) -> None:
    log.exit_code = end.int(1)


def _alert(log: _Log, alert: Message) -> None:
    log.alerts.append({"title": alert.text(1), "text": alert.text(2)})


def _machine(log: _Log, machine: Message) -> None:
    log.actor = machine.text(13) or log.actor


def _beat(log: _Log, stats: Message) -> None:
    log.ended_us = max(log.ended_us, _micros(stats.message(2)))


def _step(log: _Log, history: Message) -> None:
    seconds = _row(history).get("_timestamp") or 0
    log.ended_us = max(log.ended_us, int(seconds * _MICROS))


_HEARD: dict[int, Callable[[_Log, Message], None]] = {
    _RUN: _begin,
    _CONFIG: lambda log, config: _items(log.config, config),
    _SUMMARY: lambda log, summary: _items(log.summary, summary),
    _EXIT: _end,
    _ALERT: _alert,
    _ARTIFACT: lambda log, artifact: log.artifacts.append(artifact),
    _MACHINE: _machine,
    _STATS: _beat,
    _HISTORY: _step,
}


def _joined(earlier: _Log | None, later: _Log) -> _Log:
    if earlier is None:
        return later
    earlier.config |= later.config
    earlier.summary |= later.summary
    earlier.tags |= later.tags
    earlier.alerts += later.alerts
    earlier.artifacts += later.artifacts
    earlier.unknown |= later.unknown
    earlier.damage = earlier.damage or later.damage
    earlier.started_us = min(earlier.started_us, later.started_us)
    if later.ended_us >= earlier.ended_us:
        earlier.ended_us, earlier.exit_code = later.ended_us, later.exit_code
    return earlier


def _series(logs: list[Path], summary: dict[str, Any], rest: list[str]) -> Iterator[Any]:
    """Yield the numbers of the history; what is none goes to `rest`, a JSON row each."""
    points, machine, last, at = Gathered(), 0, 0, 0
    for log in logs:
        for record in _sound(log):
            if _HISTORY in record:
                row = _row(record.message(_HISTORY))
                last = int(row.pop("_step", record.message(_HISTORY).message(2).int(1)))
                at = int((row.pop("_timestamp", None) or 0) * _MICROS)
                kept = {k: v for k, v in row.items() if not _number(points, k, v, last, at)}
                if kept:
                    rest.append(json.dumps({"_step": last, **kept}))
            elif _STATS in record:
                stats = record.message(_STATS)
                for item in stats.messages(3):
                    value = _json(item.text(16))
                    _number(
                        points, f"system/{item.text(1)}", value, machine, _micros(stats.message(2))
                    )
                machine += 1
    plain = {k: v for k, v in summary.items() if not (isinstance(v, dict) and "_type" in v)}
    for name, value in params(plain).items():
        if name not in points and not name.startswith("_"):
            _number(points, name, value, last, at)
    return points.columns()


def _files(
    logs: list[Path], found: _Log, rest: list[str], left: list[Left]
) -> Iterator[SourceFile]:
    for log in logs:
        yield from under(log.parent / "files")
    texts = {"wandb/config.json": json.dumps(found.config)}
    texts["wandb/summary.json"] = json.dumps(found.summary)
    texts["wandb/history.jsonl"] = "\n".join(rest)
    texts["wandb/alerts.jsonl"] = "\n".join(json.dumps(each) for each in found.alerts)
    for path, text in texts.items():
        if text and text != "{}":
            yield made(path, text.encode())
    for artifact in found.artifacts:
        for entry in artifact.message(12).messages(4):
            path = f"artifacts/{artifact.text(5)}/{entry.text(1)}"
            local = entry.text(6)
            if local:
                yield SourceFile(path=path, chunks=partial(read_in_pieces, Path(local)))
            else:
                where = entry.text(3) or "nowhere on this machine"
                left.append(Left(run=found.id, what=path, why=f"its bytes are at {where}"))


def _records(log: Path) -> Iterator[Message]:
    """Yield the records of a log.

    Raises:
        Invalid: At the first piece that is cut off or damaged.
    """
    data = log.read_bytes()
    if data[:4] != _HEADER:
        raise Invalid(f"{log} is no log of W&B")
    at, parts = _START, [b""]
    while at + _PIECE.size <= len(data):
        room = _BLOCK - at % _BLOCK
        if room < _PIECE.size:
            at += room
            continue
        check, size, kind = _PIECE.unpack_from(data, at)
        piece = data[at + _PIECE.size : at + _PIECE.size + size]
        if kind == 0 and size == 0:
            return
        if len(piece) < size or crc32(piece, crc32(bytes((kind,)))) != check:
            raise Invalid(f"cut off or damaged at byte {at:,} of {len(data):,}")
        at += _PIECE.size + size
        parts = [piece] if kind in {_WHOLE, _FIRST} else [*parts, piece]
        if kind in {_WHOLE, _LAST}:
            yield Message(b"".join(parts))


def _sound(log: Path) -> Iterator[Message]:
    """Yield the records before the first damage: `_head` told of it."""
    records = _records(log)
    while True:
        try:
            yield next(records)
        except (StopIteration, Invalid):
            return


def _row(history: Message) -> dict[str, Any]:
    found: dict[str, Any] = {}
    _items(found, history)
    return found


def _items(into: dict[str, Any], update: Message) -> None:
    for item in update.messages(1):
        keys = item.texts(2) or [item.text(1)]
        where = into
        for key in keys[:-1]:
            below = where.get(key)
            where[key] = where = below if isinstance(below, dict) else {}
        where[keys[-1]] = _json(item.text(16))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _number(points: Gathered, name: str, value: Any, step: int, at_us: int) -> bool:
    """Add a number, or the numbers of a nested value; tell whether that is all there was."""
    if isinstance(value, dict) and value and "_type" not in value:
        taken = [_number(points, f"{name}.{k}", v, step, at_us) for k, v in value.items()]
        return all(taken)
    if isinstance(value, str) and value in {"NaN", "Infinity", "-Infinity"}:
        value = float(value)
    if not isinstance(value, int | float) or (isinstance(value, int) and abs(value) > 2**53):
        return False
    points.add(name, float(value), step, at_us)
    return True


def _micros(timestamp: Message) -> int:
    return timestamp.int(1) * _MICROS + timestamp.int(2) // 1000


def _time(micros: int) -> datetime | None:
    return from_micros(micros) if micros else None
