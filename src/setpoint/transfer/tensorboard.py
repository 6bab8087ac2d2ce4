"""TensorBoard's event files: scalars, text, images, histograms and hyperparameters.

Framing: a length, its CRC, the record, its CRC (TFRecord). Field numbers: `event.proto`,
`summary.proto`, `tensor.proto` and the plugin of hyperparameters. TensorFlow need not be
installed. Runs are folders, as TensorBoard sees them.
"""

import json
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct, field

from setpoint.core.clock import from_micros
from setpoint.errors import Invalid, NotFound
from setpoint.runs.columns import Gathered
from setpoint.runs.entities import Status, Value
from setpoint.transfer.entities import Content, Left, SourceFile, SourceRun
from setpoint.transfer.files import made
from setpoint.transfer.protobuf import Message

_LENGTH = struct.Struct("<Q4x")
_LONGEST = 1 << 30
_MICROS = 1_000_000
_TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8"}  # of a tensor
_TEXT = 7
_IMAGES = {"png": b"\x89PNG", "jpg": b"\xff\xd8", "gif": b"GIF8"}


class _Read(Struct):
    """What a run's event files hold."""

    points: Gathered = field(default_factory=Gathered)
    texts: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    images: list[tuple[str, int, bytes]] = field(default_factory=list)
    histograms: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    params: dict[str, Value] = field(default_factory=dict)
    ended: bool = False
    left: dict[str, str] = field(default_factory=dict)  #: why, by what


class TensorBoard:
    """A folder of event files, as given to ``tensorboard --logdir``."""

    kind = "tensorboard"

    def __init__(self, where: str) -> None:
        self.where = where
        self._top = Path(where).resolve()
        if not Path(where).is_dir():
            raise NotFound(f"{where} is no folder", hint="name what --logdir names")
        self._folders: dict[str, list[Path]] = {}
        for file in sorted(self._top.rglob("*tfevents*")):
            self._folders.setdefault(self._name(file.parent), []).append(file)
        if not self._folders:
            raise NotFound(f"no event files below {where}", hint="they are called *tfevents*")

    def runs(self) -> Sequence[SourceRun]:
        return [self._run(name, files) for name, files in self._folders.items()]

    def experiments(self) -> dict[str, dict[str, str]]:
        return {}

    def close(self) -> None:
        """Nothing stays open."""

    def left(self) -> list[Left]:
        return []

    def content(self, run: SourceRun) -> Content:
        read = _read(self._folders[run.name])
        left = [Left(run=run.id, what=what, why=why) for what, why in sorted(read.left.items())]
        return Content(series=read.points.columns(), files=_files(read), left=left)

    def _name(self, folder: Path) -> str:
        relative = folder.relative_to(self._top).as_posix()
        return self._top.name if relative == "." else relative

    def _id(self, name: str) -> str:
        """Return what no other run has: event files know no names, so it is where they lie."""
        return f"{self._top}/{name}"

    def _run(self, name: str, files: list[Path]) -> SourceRun:
        read = _read(files)
        times = [at for _, columns in read.points.columns() for at in columns.at[[0, -1]].tolist()]
        written = int(min(file.stat().st_mtime for file in files) * _MICROS)
        return SourceRun(
            id=self._id(name),
            experiment=self._top.name,
            name=name,
            # an event file has no end: what is in it is all there is
            status=Status.FINISHED,
            started_at=from_micros(min(times, default=written)),
            ended_at=from_micros(max(times, default=written)),
            params=read.params,
        )


def _read(files: list[Path]) -> _Read:
    read = _Read()
    for file in files:
        try:
            for event in _events(file):
                _hear(read, event)
        except Invalid as error:
            read.left[f"the end of {file.name}"] = error.message
    return read


def _events(file: Path) -> Iterator[Message]:
    size = file.stat().st_size
    with file.open("rb") as opened:
        while head := opened.read(_LENGTH.size):
            length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else _LONGEST
            data = opened.read(length) if length < _LONGEST else b""
            if len(data) < length or len(opened.read(4)) < 4:
                raise Invalid(f"cut off or damaged before byte {opened.tell():,} of {size:,}")
            yield Message(data)


def _hear(read: _Read, event: Message) -> None:
    step, at = event.int(2), int(event.double(1) * _MICROS)
    for value in event.message(5).messages(1):
        tag, plugin = value.text(1), value.message(9).message(1).text(1)
        if plugin == "hparams":
            _hyperparameters(read, value.message(9).message(1).message(2))
        elif 2 in value:
            read.points.add(tag, value.double(2), step, at)
        elif 4 in value:
            read.images.append((tag, step, value.message(4).bytes(4)))
        elif 5 in value:
            read.histograms.setdefault(tag, []).append(_histogram(value.message(5), step))
        elif 8 in value:
            _tensor(read, tag, plugin, value.message(8), step, at)
        else:
            read.left[tag] = f"a value of the plugin {plugin or 'unknown'}"
    for number, what in ((4, "the graph"), (9, "the meta graph"), (8, "run metadata")):
        if number in event:
            read.left[what] = "a graph of TensorFlow is no measurement of a run"


def _tensor(read: _Read, tag: str, plugin: str, tensor: Message, step: int, at: int) -> None:
    kind = tensor.int(1)
    if plugin == "text" or (kind == _TEXT and not plugin):
        text = "\n".join(each for each in tensor.texts(8))
        read.texts.setdefault(tag, []).append((step, text))
    elif plugin == "images":
        for index, image in enumerate(tensor.pieces(8)[2:]):  # after width and height
            read.images.append((f"{tag}/{index}" if index else tag, step, image))
    elif kind in _TYPES:
        values = _numbers(tensor, kind)
        if values.size == 1:
            read.points.add(tag, float(values[0]), step, at)
        elif plugin == "histograms":
            found = {"step": step, "buckets": values.reshape(-1, 3).tolist()}
            read.histograms.setdefault(tag, []).append(found)
        else:
            read.left[tag] = f"a tensor of {values.size} numbers of the plugin {plugin!r}"
    else:
        read.left[tag] = f"a tensor of type {kind} of the plugin {plugin!r}"


def _numbers(tensor: Message, kind: int) -> Any:
    if 4 in tensor:
        return np.frombuffer(tensor.bytes(4), _TYPES[kind]).astype(float)
    if kind == 1:
        return np.array(tensor.doubles(5, 4))
    if kind == 2:
        return np.array(tensor.doubles(6))
    return np.array(tensor.ints(7 if kind == 3 else 10), float)


def _histogram(histogram: Message, step: int) -> dict[str, Any]:
    return {
        "step": step,
        "min": histogram.double(1),
        "max": histogram.double(2),
        "count": histogram.double(3),
        "limits": histogram.doubles(6),
        "counts": histogram.doubles(7),
    }


def _hyperparameters(read: _Read, content: Message) -> None:
    for entry in content.message(3).messages(1):
        value = entry.message(2)
        if 2 in value:
            read.params[entry.text(1)] = value.double(2)
        elif 4 in value:
            read.params[entry.text(1)] = bool(value.int(4))
        else:
            read.params[entry.text(1)] = value.text(3)


def _files(read: _Read) -> Iterator[SourceFile]:
    for tag, texts in read.texts.items():
        whole = "\n\n".join(f"step {step}\n{text}" for step, text in texts)
        yield made(f"texts/{tag}.txt", whole.encode())
    for tag, rows in read.histograms.items():
        yield made(f"histograms/{tag}.json", json.dumps(rows).encode())
    for tag, step, image in read.images:
        ending = next((end for end, magic in _IMAGES.items() if image.startswith(magic)), "img")
        yield made(f"images/{tag}/{step}.{ending}", image)
