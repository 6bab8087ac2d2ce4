"""The only SQL about deployments, predictions and labels. Callers own the transaction."""

import json
import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Integer, bindparam, case, delete, func, insert, select, update

from setpoint.core.clock import to_micros
from setpoint.db.upsert import insertion
from setpoint.errors import Conflict, NotFound
from setpoint.serve import rules
from setpoint.serve.entities import (
    Deployment,
    EndpointSettings,
    Labelled,
    Prediction,
    PredictionRow,
    Role,
)
from setpoint.serve.sampling import is_sampled
from setpoint.serve.tables import deployments as d
from setpoint.serve.tables import endpoint_settings as es
from setpoint.serve.tables import endpoints as e
from setpoint.serve.tables import predictions as p
from setpoint.serve.tables import waiting_labels as w


def generations(conn: Connection) -> dict[str, int]:
    """Return the generation of every endpoint, by model."""
    return {row.model: row.generation for row in conn.execute(select(e.c.model, e.c.generation))}


def generation(conn: Connection, model: str) -> int:
    """Return how often the deployments of `model` have changed, 0 if it has none."""
    return int(conn.execute(_GENERATION, {"of_model": model}).scalar_one_or_none() or 0)


_GENERATION = select(e.c.generation).where(e.c.model == bindparam("of_model"))


def deployments(conn: Connection, model: str) -> list[Deployment]:
    """Return what is behind the endpoint of `model`, by version."""
    found = conn.execute(_DEPLOYMENTS, {"of_model": model})
    return [msgspec.convert(row, Deployment, from_attributes=True) for row in found]


_DEPLOYMENTS = select(d).where(d.c.model == bindparam("of_model")).order_by(d.c.version)


def deploy(conn: Connection, model: str, wanted: Sequence[Deployment]) -> int:
    """Put exactly `wanted` behind the endpoint; no deployments takes it down.

    Doing it again changes nothing.

    Returns:
        The generation of the endpoint with these deployments.

    Raises:
        Invalid: If there is not exactly one live version, a version comes twice, or a
            weight is no share.
    """
    rules.check(model, wanted)
    was = generation(conn, model)
    if was and deployments(conn, model) == sorted(wanted, key=lambda one: one.version):
        return was
    conn.execute(delete(d).where(d.c.model == model))
    if wanted:
        conn.execute(insert(d), [msgspec.structs.asdict(one) for one in wanted])
    if not was:
        conn.execute(insert(e).values(model=model, generation=1))
        return 1
    done = conn.execute(
        update(e).where(e.c.model == model, e.c.generation == was).values(generation=was + 1)
    )
    if done.rowcount != 1:
        raise Conflict(f"the endpoint of {model!r} changed meanwhile", hint="retry")
    return was + 1


def configure(conn: Connection, model: str, settings: EndpointSettings) -> None:
    """Have an endpoint answer as `settings` say, now or once something is deployed.

    Servers follow as they follow deployments. Doing it again changes nothing.
    """
    if settings_of(conn, model) == settings:
        return
    said = msgspec.json.encode(settings).decode()
    query = insertion(conn, es).values(model=model, settings=said)
    conn.execute(query.on_conflict_do_update(index_elements=[es.c.model], set_={"settings": said}))
    conn.execute(update(e).where(e.c.model == model).values(generation=e.c.generation + 1))


def settings_of(conn: Connection, model: str) -> EndpointSettings:
    """Return how an endpoint is to answer; the defaults where nothing was said."""
    said = conn.execute(select(es.c.settings).where(es.c.model == model)).scalar_one_or_none()
    return msgspec.json.decode(said or "{}", type=EndpointSettings)


def insert_predictions(conn: Connection, rows: Sequence[PredictionRow]) -> list[str]:
    """Index predictions; those whose id the model has already are left as they were.

    Returns:
        The ids that were new, in order. (A client that repeats a request with the same
        ids is answered again, but counted once.)
    """
    by_key: dict[tuple[str, str], PredictionRow] = {}
    for row in rows:
        by_key.setdefault(row[:2], row)
    models = {model for model, _ in by_key}
    for model in models:
        for found in known_ids(conn, model, [i for m, i in by_key if m == model]):
            del by_key[model, found]
    new = list(by_key.values())
    if not new:
        return []
    if conn.dialect.name == "sqlite":
        conn.exec_driver_sql(_INSERT_SQLITE, new)
    else:
        columns = [list(column) for column in zip(*new, strict=True)]
        columns[5] = [_known(score) for score in columns[5]]
        conn.exec_driver_sql(_INSERT_POSTGRESQL, tuple(columns))
    return [row.id for row in new]


def _known(score: float | None) -> float | None:
    """Return null for NaN, which SQLite does by itself and PostgreSQL does not."""
    return None if score is None or math.isnan(score) else score


_COLUMNS = "(model, id, version, role, at, score, arm)"
_INSERT_SQLITE = f"INSERT INTO predictions {_COLUMNS} VALUES (?, ?, ?, ?, ?, ?, ?)"
_INSERT_POSTGRESQL = f"""
    INSERT INTO predictions {_COLUMNS} SELECT * FROM unnest(
        %s::text[], %s::text[], %s::integer[], %s::text[], %s::bigint[], %s::float8[], %s::text[])
"""


def known_ids(conn: Connection, model: str, ids: Sequence[str]) -> list[str]:
    """Return which of `ids` the index has."""
    return [row[0] for row in _by_id(conn, "predictions", "p.id", model, ids)]


def pair_predictions(
    conn: Connection,
    model: str,
    version: int,
    ids: Sequence[str],
    scores: Sequence[float | None],
) -> set[str]:
    """Write down what the other arm, `version`, says of predictions; None where it failed.

    Returns:
        The ids of predictions that no other arm had been asked about; what was written
        down about the others stays. (A repeated request may be answered by another arm
        than the first time: a version is never the other arm of its own answer.)
    """
    found = _by_id(conn, "predictions", "p.id, p.version, p.other_version", model, ids)
    new = {row[0] for row in found if row[1] != version and row[2] is None}
    said: dict[str, float | None] = {}
    for i, score in zip(ids, scores, strict=True):
        if i in new:
            said.setdefault(i, _known(score))
    _update(
        conn,
        "other_version = {0}, other_score = {1}",
        ("integer", "float8"),
        model,
        [(version, score, i) for i, score in said.items()],
    )
    return new


def label_predictions(
    conn: Connection,
    model: str,
    ids: Sequence[str],
    labels: Sequence[float],
    at: datetime,
    *,
    ordered: bool = True,
    sample: float = 1.0,
) -> list[Labelled]:
    """Join labels to their predictions.

    A label whose prediction is unknown is kept until `join_waiting` finds it, unless it is
    none of the `sample` that is logged. Of several labels of one id the last counts, since it
    was first said; not `ordered`, the latest.

    Returns:
        Each prediction that has a label it did not have before; `was` tells a correction.
        A label that says again what is known is left out.
    """
    given = dict(zip(ids, labels, strict=True))
    rows = _by_id(conn, "predictions", _LABELLED, model, list(given))
    micros, known = to_micros(at), {row[0] for row in rows}
    changed = [
        _labelled(row, given[row[0]], micros)
        for row in rows
        if row[7] != given[row[0]] and (ordered or row[8] is None or row[8] <= micros)
    ]
    _update(
        conn,
        "label = {0}, labelled_at = {1}",
        ("float8", "bigint"),
        model,
        [(one.label, micros, one.id) for one in changed],
    )
    unknown = [(i, label) for i, label in given.items() if i not in known]
    _wait(conn, model, [one for one in unknown if is_sampled(one[0], sample)], at)
    return changed


def join_waiting(conn: Connection, model: str, ids: Sequence[str]) -> list[Labelled]:
    """Join the labels that came before these predictions; call it with the new ids."""
    if not conn.execute(select(w.c.id).where(w.c.model == model).limit(1)).first():
        return []
    joined: list[Labelled] = []
    for i, label, at in _by_id(conn, "waiting_labels", "p.id, p.label, p.at", model, ids):
        row = _by_id(conn, "predictions", _LABELLED, model, [i])[0]
        joined.append(_labelled(row, label, at))
        truth = [(label, at, i)]
        _update(conn, "label = {0}, labelled_at = {1}", ("float8", "bigint"), model, truth)
    conn.execute(delete(w).where(w.c.model == model, w.c.id.in_([one.id for one in joined])))
    return joined


def prediction(conn: Connection, id: str, model: str | None = None) -> Prediction:  # noqa: A002
    """Return one prediction.

    Raises:
        NotFound: If no model (or not this one) has answered a row with this id.
    """
    models = [model] if model else list(conn.execute(select(e.c.model)).scalars())
    row = conn.execute(select(p).where(p.c.model.in_(models), p.c.id == id)).first()
    if row is None:
        raise NotFound(
            f"no prediction {id!r}",
            hint="its id is in the answer to the request; a prediction is indexed within a second",
        )
    return msgspec.convert(row, Prediction, from_attributes=True)


def named(
    conn: Connection,
    id: str,  # noqa: A002
    model: str | None = None,
) -> list[Prediction]:
    """Return the predictions with this id: one a model at most."""
    models = [model] if model else list(generations(conn))
    query = select(p).where(p.c.model.in_(models), p.c.id == id).order_by(p.c.model)
    return [msgspec.convert(row, Prediction, from_attributes=True) for row in conn.execute(query)]


def tally(conn: Connection, model: str, version: int, *, at_most: int) -> tuple[int, list[str]]:
    """Count predictions of a version, no further than `at_most`; also return two of the ids.

    The cost grows with `at_most`, not with the number of predictions.
    """
    given = {"of_model": model, "of_version": version, "at_most": at_most}
    count, first, last = conn.execute(_TALLY, given).one()
    return int(count), [] if first is None else list(dict.fromkeys((first, last)))


_counted = (
    select(p.c.id)
    .where(p.c.model == bindparam("of_model"), p.c.version == bindparam("of_version"))
    .limit(bindparam("at_most", type_=Integer))
    .subquery()
)
_TALLY = select(func.count(), func.min(_counted.c.id), func.max(_counted.c.id))


def predictions(
    conn: Connection, model: str, version: int, *, after: str = "", limit: int = 100
) -> list[Prediction]:
    """Return predictions that a version answered, by id."""
    query = (
        select(p)
        .where(p.c.model == model, p.c.version == version, p.c.id > after)
        .order_by(p.c.id)
        .limit(limit)
    )
    return [msgspec.convert(row, Prediction, from_attributes=True) for row in conn.execute(query)]


def outcomes(conn: Connection, model: str) -> list[tuple[str, float | None, float | None]]:
    """Return (id, score, label) of every prediction of a model, in no order."""
    query = select(p.c.id, p.c.score, p.c.label).where(p.c.model == model)
    return [(row[0], row[1], row[2]) for row in conn.execute(query)]


def count_predictions(conn: Connection, model: str, version: int | None = None) -> tuple[int, int]:
    """Return how many predictions there are, and how many of them have a label."""
    query = select(func.count(), func.count(p.c.label)).where(p.c.model == model)
    if version is not None:
        query = query.where(p.c.version == version)
    rows, labelled = conn.execute(query).one()
    return int(rows), int(labelled)


def oldest(conn: Connection, model: str) -> datetime | None:
    """Return when the oldest prediction of a model was made; reads all of them."""
    found: datetime | None = conn.scalar(select(func.min(p.c.at)).where(p.c.model == model))
    return found


def delete_before(conn: Connection, model: str, before: datetime, *, at_most: int) -> int:
    """Delete predictions made before a time, and labels that waited since; return how many.

    On SQLite their bytes are overwritten, and the space is used by the next rows; on
    PostgreSQL both are its vacuum's work.

    Args:
        conn: The caller's transaction.
        model: The model.
        before: Exclusive.
        at_most: Of each of the two kinds.
    """
    gone = 0
    if conn.dialect.name == "sqlite":
        conn.exec_driver_sql("PRAGMA secure_delete = ON")
    for table in (p, w):
        old = select(table.c.id).where(table.c.model == model, table.c.at < before).limit(at_most)
        done = conn.execute(delete(table).where(table.c.model == model, table.c.id.in_(old)))
        gone += done.rowcount
    return gone


_LABELLED = (
    "p.id, p.version, p.role, p.at, p.score, p.other_version, p.other_score, p.label, p.labelled_at"
)


def _labelled(row: Any, label: float, told_us: int) -> Labelled:
    return Labelled(
        id=row[0],
        version=row[1],
        role=Role(row[2]),
        at_us=row[3],
        score=math.nan if row[4] is None else row[4],
        other_version=row[5],
        other_score=row[6],
        label=label,
        told_us=told_us,
        was=row[7],
        was_told_us=row[8],
    )


def _by_id(conn: Connection, table: str, columns: str, model: str, ids: Sequence[str]) -> list[Any]:
    """Select from `table` (as p) the rows of `ids`, many at once, in the order of `ids`."""
    if not ids:
        return []
    if conn.dialect.name == "sqlite":
        query = (
            f"SELECT {columns} FROM json_each(?) AS asked "
            f"CROSS JOIN {table} AS p ON p.model = ? AND p.id = asked.value ORDER BY asked.key"
        )
        return list(conn.exec_driver_sql(query, (json.dumps(list(ids)), model)))
    query = (
        f"SELECT {columns} FROM unnest(%s::text[]) WITH ORDINALITY AS asked(id, key) "
        f"JOIN {table} AS p ON p.model = %s AND p.id = asked.id ORDER BY asked.key"
    )
    return list(conn.exec_driver_sql(query, (list(ids), model)))


def _update(
    conn: Connection, assign: str, types: tuple[str, str], model: str, rows: list[tuple[Any, ...]]
) -> None:
    """Set two columns of predictions from ``(first, second, id)`` rows."""
    if not rows:
        return
    if conn.dialect.name == "sqlite":
        query = f"UPDATE predictions SET {assign.format('?', '?')} WHERE id = ? AND model = ?"
        conn.exec_driver_sql(query, [(*row, model) for row in rows])
        return
    first, second, ids = (list(column) for column in zip(*rows, strict=True))
    query = (
        f"UPDATE predictions AS p SET {assign.format('given.a', 'given.b')} FROM "
        f"unnest(%s::{types[0]}[], %s::{types[1]}[], %s::text[]) AS given(a, b, id) "
        "WHERE p.model = %s AND p.id = given.id"
    )
    conn.exec_driver_sql(query, (first, second, ids, model))


def _wait(conn: Connection, model: str, labels: list[tuple[str, float]], at: datetime) -> None:
    if not labels:
        return
    query = insertion(conn, w)
    new = query.excluded
    query = query.on_conflict_do_update(
        index_elements=[w.c.model, w.c.id],
        set_={"label": new.label, "at": case((w.c.label == new.label, w.c.at), else_=new.at)},
    )
    rows = [{"model": model, "id": i, "label": label, "at": at} for i, label in labels]
    conn.execute(query, rows)
