"""Stores of other systems, written byte by byte as their own clients write them."""

import json
import struct
from pathlib import Path
from typing import Any
from zlib import crc32

import yaml


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def field(number: int, value: Any) -> bytes:
    """Return one field: whole numbers as varints, floats as doubles, the rest as bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def single(number: int, value: float) -> bytes:
    return varint(number << 3 | 5) + struct.pack("<f", value)


def message(*fields: tuple[int, Any]) -> bytes:
    return b"".join(field(number, value) for number, value in fields)


# W&B


def items(values: dict[str, Any]) -> bytes:
    """Return an update: a nested name is written as its parts."""
    out = b""
    for name, value in values.items():
        keys = [(2, part) for part in name.split(".")]
        out += field(1, message(*keys, (16, json.dumps(value))))
    return out


def history(step: int, at: float, **values: Any) -> bytes:
    row = {"_step": step, "_timestamp": at, **values}
    return field(2, items({name.replace("__", "."): value for name, value in row.items()}))


def begin(run: str, project: str = "p", name: str = "a run", **config: Any) -> bytes:
    about = message((1, run), (3, project), (6, "g"), (8, name), (9, "note"), (10, "x"))
    about += field(4, items(config)) + field(17, message((1, 1_700_000_000)))
    return field(17, about)


def measured(at: int, **values: float) -> bytes:
    items = [(3, message((1, name), (16, str(value)))) for name, value in values.items()]
    return field(7, message((2, field(1, at)), *items))


def exited(code: int) -> bytes:
    return field(18, message((1, code)))


def wandb_log(path: Path, *records: bytes) -> Path:
    """Write a transaction log: blocks of 32 KiB, each piece with its CRC."""
    data = bytearray(b":W&B\xe1\xbe\0")
    for record in records:
        rest, first = record, True
        while first or rest:
            room = 32_768 - len(data) % 32_768
            if room < 7:
                data += bytes(room)
                continue
            piece, rest = rest[: room - 7], rest[room - 7 :]
            kind = {(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}[
                (first, not rest)
            ]
            data += struct.pack("<IHB", crc32(piece, crc32(bytes([kind]))), len(piece), kind)
            data += piece
            first = False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


# TensorBoard


def event(at: float, step: int, *values: bytes) -> bytes:
    return message((1, at), (2, step), (5, b"".join(field(1, value) for value in values)))


def scalar(tag: str, value: float) -> bytes:
    return field(1, tag) + single(2, value)


def tensor(tag: str, plugin: str, *fields: tuple[int, Any]) -> bytes:
    about = field(1, field(1, plugin))
    return field(1, tag) + field(8, message(*fields)) + field(9, about)


def events(path: Path, *records: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = [struct.pack("<Q4x", len(record)) + record + bytes(4) for record in records]
    path.write_bytes(b"".join(parts))
    return path


# MLflow


def mlruns(folder: Path) -> Path:
    """Write a folder of two experiments: a parent, its child, and a deleted run that failed."""
    _meta(folder / "1", experiment_id="1", name="späte Flüge/1", lifecycle_stage="active")
    _file(folder / "1/tags/team", "ops")
    parent, child, gone = "a" * 32, "b" * 32, "c" * 32
    for number, (run, status, stage) in enumerate(
        [(child, 3, "active"), (parent, 3, "active"), (gone, 4, "deleted")]
    ):
        _meta(
            folder / "1" / run,
            run_id=run,
            run_name=f"run {run[0]}",
            status=status,
            lifecycle_stage=stage,
            start_time=1_700_000_000_000 + number,
            end_time=1_700_000_009_000,
            user_id="ann",
            artifact_uri="mlflow-artifacts:/1/x",
        )
    top = folder / "1" / parent
    _file(top / "params/leaves", "31")
    _file(top / "tags/kind", "sweep")
    _file(top / "metrics/loss/val", "1700000000001 1.0 0\n1700000000002 nan 1\n1700000000003 inf 2")
    _file(top / "artifacts/notes/hello.txt", "hello")
    _file(folder / "1" / child / "tags/mlflow.parentRunId", parent)
    _file(folder / "1" / child / "metrics/auc", "1700000000001 0.5\nnonsense\n")
    _meta(
        folder / "1" / child / "inputs/i", source_id="d", tags={"mlflow.data.context": "training"}
    )
    _meta(folder / "1/datasets/d", name="ones", digest="0e", source_type="code", source="{}")
    return folder


def _meta(folder: Path, **about: Any) -> None:
    _file(folder / "meta.yaml", yaml.safe_dump(about))


def _file(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
