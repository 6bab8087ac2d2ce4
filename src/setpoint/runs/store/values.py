"""All SQL about what runs carry: params, tags, datasets, links, artifacts."""

import contextlib
import math
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any

import msgspec
from blake3 import blake3
from sqlalchemy import Connection, delete, or_, select

from setpoint.db.upsert import upsert
from setpoint.runs.entities import Artifact, Dataset, Link, Value
from setpoint.runs.store import naming
from setpoint.runs.store.naming import plain
from setpoint.runs.tables import read_datasets as d
from setpoint.runs.tables import run_artifacts as a
from setpoint.runs.tables import run_datasets as rd
from setpoint.runs.tables import run_links as ln
from setpoint.runs.tables import run_values as v

HEAD = 64  #: characters of a text that the index holds
OURS = "setpoint"  #: source type of dataset versions of Setpoint


class Kind(IntEnum):
    PARAM = 0
    TAG = 1


def put(conn: Connection, run: int, kind: Kind, values: dict[str, Any]) -> None:
    """Write params or tags, over what they were."""
    if not values:
        return
    ids = naming.numbers(conn, values)
    rows = {
        ids[plain(name)]: {
            "run_key": run,
            "kind": int(kind),
            "name_id": ids[plain(name)],
            **_columns(value),
        }
        for name, value in values.items()
    }
    upsert(conn, v, list(rows.values()), update=["type", "head", "rest", "number"])


def _columns(value: Value) -> dict[str, Any]:
    text = plain(repr(value) if isinstance(value, float) else str(value))
    return {
        "type": _TYPES[type(value)],
        "head": text[:HEAD],
        "rest": text[HEAD:] or None,
        "number": number_of(text),
    }


_TYPES: dict[type, str] = {str: "s", bool: "b", int: "i", float: "f", type(None): "n"}


def number_of(text: str) -> float | None:
    """Return the number that a text says, if it does."""
    if len(text) > HEAD:
        return None
    with contextlib.suppress(ValueError):
        number = float(text)
        return number if math.isfinite(number) else None
    return None


def value_of(kind: str, text: str) -> Value:
    """Return what was written, of its own type."""
    match kind:
        case "i":
            return int(text)
        case "f":
            return float(text)
        case "b":
            return text == "True"
        case "n":
            return None
    return text


def of(conn: Connection, runs: Sequence[int], kind: Kind | None = None) -> list[Any]:
    """Return (run key, kind, name id, type, head, rest) of what runs carry."""
    query = select(v.c.run_key, v.c.kind, v.c.name_id, v.c.type, v.c.head, v.c.rest)
    query = query.where(v.c.run_key.in_(runs))
    if kind is not None:
        query = query.where(v.c.kind == int(kind))
    return list(conn.execute(query).all())  # a row at a time takes twice as long


def some(conn: Connection, run: int, kind: Kind, names: Iterable[str]) -> dict[str, Value]:
    """Return the values of one run that have one of these names."""
    ids = naming.known(conn, names)
    query = select(v.c.name_id, v.c.type, v.c.head, v.c.rest).where(
        v.c.run_key == run, v.c.kind == int(kind), v.c.name_id.in_(ids.values())
    )
    found = {
        number: value_of(t, head + (rest or "")) for number, t, head, rest in conn.execute(query)
    }
    return {name: found[number] for name, number in ids.items() if number in found}


def forget(conn: Connection, run: int, kind: Kind, names: Iterable[str]) -> None:
    """Delete values by name."""
    ids = naming.known(conn, names).values()
    here = (v.c.run_key == run, v.c.kind == int(kind), v.c.name_id.in_(ids))
    conn.execute(delete(v).where(*here))


def put_datasets(conn: Connection, run: int, given: Sequence[Dataset]) -> None:
    """Write which data a run read, over what was said of the same data before."""
    if not given:
        return
    described: dict[str, dict[str, Any]] = {}
    for dataset in given:
        row = {name: plain(getattr(dataset, name)) for name in _DESCRIBED}
        described[_fingerprint(row)] = row
    rows = [{"fingerprint": key, **row} for key, row in sorted(described.items())]
    upsert(conn, d, rows, on=["fingerprint"])
    query = select(d.c.fingerprint, d.c.id).where(d.c.fingerprint.in_(described))
    ids = {row.fingerprint: row.id for row in conn.execute(query)}
    reads = {
        ids[_fingerprint({name: plain(getattr(one, name)) for name in _DESCRIBED})]: one
        for one in given
    }
    rows = [
        {"run_key": run, "dataset_id": number, "context": plain(one.context), "tags": one.tags}
        for number, one in reads.items()
    ]
    upsert(conn, rd, rows, update=["context", "tags"])


_DESCRIBED = ("name", "digest", "source_type", "source", "schema", "profile")


def _fingerprint(described: dict[str, Any]) -> str:
    return blake3(msgspec.json.encode(described, order="sorted")).hexdigest()[:32]


def versions(inputs: dict[str, int]) -> list[Dataset]:
    """Return dataset versions of Setpoint as the data a run read."""
    return [
        Dataset(name=name, digest=str(number), source_type=OURS, context="training")
        for name, number in inputs.items()
    ]


def datasets(conn: Connection, runs: Sequence[int]) -> dict[int, list[Dataset]]:
    """Return what each run read, by name."""
    columns = [d.c[name] for name in _DESCRIBED]
    query = select(rd.c.run_key, rd.c.context, rd.c.tags, *columns).join(
        d, d.c.id == rd.c.dataset_id
    )
    found: dict[int, list[Dataset]] = {}
    for row in conn.execute(query.where(rd.c.run_key.in_(runs)).order_by(d.c.name, d.c.id)):
        found.setdefault(row.run_key, []).append(
            Dataset(
                context=row.context,
                tags=row.tags,
                **{name: getattr(row, name) for name in _DESCRIBED},
            )
        )
    return found


def put_links(conn: Connection, run: int, links: Sequence[Link], *, made: bool) -> None:
    """Write what a run used or made."""
    rows = {
        (link.kind, link.ref): {
            "run_key": run,
            "made": made,
            "kind": plain(link.kind),
            "ref": plain(link.ref),
            "step": link.step,
        }
        for link in links
    }
    upsert(conn, ln, list(rows.values()), update=["step"])


def links(conn: Connection, runs: Sequence[int]) -> dict[int, tuple[list[Link], list[Link]]]:
    """Return what each run used, and what it made."""
    query = select(ln).where(ln.c.run_key.in_(runs)).order_by(ln.c.kind, ln.c.step, ln.c.ref)
    found: dict[int, tuple[list[Link], list[Link]]] = {}
    for row in conn.execute(query):
        link = Link(kind=row.kind, ref=row.ref, step=row.step)
        found.setdefault(row.run_key, ([], []))[1 if row.made else 0].append(link)
    return found


def put_artifacts(conn: Connection, run: int, left: dict[str, Artifact]) -> None:
    """Write which files a run left, over what the paths stood for."""
    rows = {
        plain(path): {
            "run_key": run,
            "path": plain(path),
            "address": one.address,
            "size": one.size,
        }
        for path, one in left.items()
    }
    upsert(conn, a, list(rows.values()), update=["address", "size"])


def artifacts(conn: Connection, run: int, under: str = "") -> dict[str, Artifact]:
    """Return the files of a run, of one folder or of all, by path."""
    query = select(a.c.path, a.c.address, a.c.size).where(a.c.run_key == run)
    folder = under.strip("/")
    if folder:
        query = query.where(_below(folder))
    rows = conn.execute(query.order_by(a.c.path))
    return {path: Artifact(address=address, size=size) for path, address, size in rows}


def forget_artifacts(conn: Connection, run: int, paths: Sequence[str]) -> None:
    """Delete files and folders from the list; their bytes stay until the garbage is collected."""
    for path in paths:
        conn.execute(delete(a).where(a.c.run_key == run, _below(path.strip("/"))))


def _below(folder: str) -> Any:
    # A range and not LIKE: exact, whatever the path holds, and found by the index.
    return or_(
        a.c.path == folder,
        (a.c.path >= f"{folder}/") & (a.c.path < f"{folder}0"),  # "0" follows "/"
    )


def drop(conn: Connection, runs: Sequence[int]) -> None:
    """Delete everything that runs carry."""
    for table in (v, rd, ln, a):
        conn.execute(delete(table).where(table.c.run_key.in_(runs)))
