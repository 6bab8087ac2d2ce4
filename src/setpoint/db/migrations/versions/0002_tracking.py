"""Tracking: experiments, runs with a number, series in columns, names said once."""

import math
import struct
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op
from blake3 import blake3

revision = "0002"
down_revision = "0009"

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    conn = op.get_bind()
    old = _taken(conn)
    _runs()
    _values()
    _series()
    _carried()
    _fill(conn, old)


def _taken(conn: sa.Connection) -> dict[str, list[Any]]:
    """Read the old tables and drop them, since the new ones take their names."""
    old = {
        "runs": list(conn.execute(sa.text("SELECT * FROM runs ORDER BY started_at, id"))),
        "values": list(conn.execute(sa.text("SELECT * FROM run_values"))),
        "points": list(
            conn.execute(sa.text("SELECT * FROM run_points ORDER BY run_id, name, step"))
        ),
    }
    for table in ("run_points", "run_values", "runs"):
        op.drop_table(table)
    return old


def _runs() -> None:
    op.create_table(
        "experiments",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("lifecycle", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_experiments")),
        sa.UniqueConstraint("name", name=op.f("uq_experiments_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "experiment_tags",
        sa.Column("experiment_id", _KEY, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("value", _TEXT, nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiments.id"],
            name=op.f("fk_experiment_tags_experiment_id_experiments"),
        ),
        sa.PrimaryKeyConstraint("experiment_id", "name", name=op.f("pk_experiment_tags")),
    )
    op.create_table(
        "runs",
        sa.Column("key", _KEY, nullable=False),
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("experiment_id", _KEY, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("parent", _TEXT, nullable=True),
        sa.Column("status", _TEXT, nullable=False),
        sa.Column("lifecycle", sa.Text(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("actor", _TEXT, nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("environment", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiments.id"], name=op.f("fk_runs_experiment_id_experiments")
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_runs")),
        sa.UniqueConstraint("id", name=op.f("uq_runs_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_runs_experiment_id_started_at",
        "runs",
        ["experiment_id", "started_at", "key"],
        unique=False,
    )
    op.create_index("ix_runs_parent", "runs", ["parent"], unique=False)
    op.create_index("ix_runs_started_at", "runs", ["started_at", "key"], unique=False)


def _values() -> None:
    op.create_table(
        "run_names",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_names")),
        sa.UniqueConstraint("name", name=op.f("uq_run_names_name")),
    )
    op.create_table(
        "run_values",
        sa.Column("run_key", _KEY, autoincrement=False, nullable=False),
        sa.Column("kind", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("name_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("head", _TEXT, nullable=False),
        sa.Column("rest", _TEXT, nullable=True),
        sa.Column("number", sa.Float(precision=53), nullable=True),
        sa.PrimaryKeyConstraint("run_key", "kind", "name_id", name=op.f("pk_run_values")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_run_values_kind_name_id_number",
        "run_values",
        ["kind", "name_id", "number", "head", "run_key"],
        unique=False,
    )
    op.create_table(
        "run_metrics",
        sa.Column("run_key", _KEY, autoincrement=False, nullable=False),
        sa.Column("name_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("value", sa.Float(precision=53), nullable=True),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("low", sa.Float(precision=53), nullable=True),
        sa.Column("high", sa.Float(precision=53), nullable=True),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("loose_rows", sa.Integer(), nullable=False),
        sa.Column("loose_points", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("run_key", "name_id", name=op.f("pk_run_metrics")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_run_metrics_name_id_value", "run_metrics", ["name_id", "value", "run_key"], unique=False
    )


def _series() -> None:
    op.create_table(
        "series_tail",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("run_key", _KEY, nullable=False),
        sa.Column("name_id", _KEY, nullable=False),
        sa.Column("points", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_series_tail")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_series_tail_run_key_name_id", "series_tail", ["run_key", "name_id", "id"], unique=False
    )
    op.create_table(
        "series_chunks",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("run_key", _KEY, nullable=False),
        sa.Column("name_id", _KEY, nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("first_step", sa.BigInteger(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("first", sa.Float(precision=53), nullable=True),
        sa.Column("last", sa.Float(precision=53), nullable=True),
        sa.Column("low", sa.Float(precision=53), nullable=True),
        sa.Column("high", sa.Float(precision=53), nullable=True),
        sa.Column("arrived", sa.BigInteger(), nullable=False),
        sa.Column("points", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_series_chunks")),
    )
    op.create_index(
        "ix_series_chunks_run_key_arrived", "series_chunks", ["run_key", "arrived"], unique=False
    )
    op.create_index(
        "ix_series_chunks_run_key_name_id",
        "series_chunks",
        ["run_key", "name_id", "last_step", "last_at"],
        unique=False,
    )


def _carried() -> None:
    op.create_table(
        "run_cards",
        sa.Column("run_key", _KEY, autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_key", name=op.f("pk_run_cards")),
    )
    op.create_table(
        "run_sources",
        sa.Column("run_key", _KEY, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_key"], ["runs.key"], name=op.f("fk_run_sources_run_key_runs")
        ),
        sa.PrimaryKeyConstraint("run_key", "source", name=op.f("pk_run_sources")),
    )
    op.create_table(
        "read_datasets",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("digest", _TEXT, nullable=False),
        sa.Column("source_type", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("schema", sa.Text(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_read_datasets")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_read_datasets_fingerprint")),
    )
    op.create_index(
        "ix_read_datasets_name_digest", "read_datasets", ["name", "digest"], unique=False
    )
    op.create_table(
        "run_datasets",
        sa.Column("run_key", _KEY, nullable=False),
        sa.Column("dataset_id", _KEY, nullable=False),
        sa.Column("context", _TEXT, nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["read_datasets.id"],
            name=op.f("fk_run_datasets_dataset_id_read_datasets"),
        ),
        sa.ForeignKeyConstraint(
            ["run_key"], ["runs.key"], name=op.f("fk_run_datasets_run_key_runs")
        ),
        sa.PrimaryKeyConstraint("run_key", "dataset_id", name=op.f("pk_run_datasets")),
    )
    op.create_index("ix_run_datasets_dataset_id", "run_datasets", ["dataset_id"], unique=False)
    op.create_table(
        "run_links",
        sa.Column("run_key", _KEY, nullable=False),
        sa.Column("made", sa.Boolean(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_key"], ["runs.key"], name=op.f("fk_run_links_run_key_runs")),
        sa.PrimaryKeyConstraint("run_key", "made", "kind", "ref", name=op.f("pk_run_links")),
    )
    op.create_index("ix_run_links_kind_ref", "run_links", ["kind", "ref"], unique=False)
    op.create_table(
        "run_artifacts",
        sa.Column("run_key", _KEY, nullable=False),
        sa.Column("path", _TEXT, nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_key"], ["runs.key"], name=op.f("fk_run_artifacts_run_key_runs")
        ),
        sa.PrimaryKeyConstraint("run_key", "path", name=op.f("pk_run_artifacts")),
    )
    op.create_index("ix_run_artifacts_address", "run_artifacts", ["address"], unique=False)


def _fill(conn: sa.Connection, old: dict[str, list[Any]]) -> None:
    """Write what the old tables held; runs are numbered in the order they were started in."""
    experiments = {"Default": 0}
    first: dict[str, int] = {"Default": min((row.started_at for row in old["runs"]), default=0)}
    for row in old["runs"]:
        experiments.setdefault(row.experiment, len(experiments))
        first.setdefault(row.experiment, row.started_at)
    _insert(
        conn,
        "experiments",
        (
            {
                "id": number,
                "name": name,
                "lifecycle": "active",
                "created_at": first[name],
                "updated_at": first[name],
            }
            for name, number in experiments.items()
        ),
    )
    keys = {row.id: number for number, row in enumerate(old["runs"], 1)}
    _insert(
        conn,
        "runs",
        (
            {
                "key": keys[row.id],
                "id": row.id,
                "experiment_id": experiments[row.experiment],
                "name": "",
                "status": row.status,
                "lifecycle": "active",
                "started_at": row.started_at,
                "ended_at": row.ended_at,
                "actor": row.actor,
                "code": row.code,
                "environment": row.environment,
                "error": row.error,
            }
            for row in old["runs"]
        ),
    )
    named = {row.name for row in old["points"]}
    named |= {row.name for row in old["values"] if row.kind in _KINDS}
    names = {name: number for number, name in enumerate(sorted(named), 1)}
    _insert(conn, "run_names", ({"id": n, "name": name} for name, n in names.items()))
    _fill_values(conn, old["values"], keys, names)
    _fill_series(conn, old["points"], keys, names)
    if conn.dialect.name == "postgresql":  # ids were given by hand: count on from there
        for table, column in (("experiments", "id"), ("runs", "key"), ("run_names", "id")):
            conn.execute(
                sa.text(
                    f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), "
                    f"(SELECT COALESCE(MAX({column}), 0) + 1 FROM {table}), false)"
                )
            )


_KINDS = {"param": 0, "tag": 1}
_HEAD = 64


def _fill_values(
    conn: sa.Connection, rows: list[Any], keys: dict[str, int], names: dict[str, int]
) -> None:
    values, artifacts, inputs = [], [], []
    for row in rows:
        value = None if row.value is None else msgspec.json.decode(row.value)
        if row.kind == "artifact":
            artifacts.append(
                {"run_key": keys[row.run_id], "path": row.name, "address": value, "size": 0}
            )
        elif row.kind == "input":
            inputs.append((keys[row.run_id], row.name, str(value)))
        else:
            values.append(
                {
                    "run_key": keys[row.run_id],
                    "kind": _KINDS[row.kind],
                    "name_id": names[row.name],
                    **_text(value),
                }
            )
    _insert(conn, "run_values", values)
    _insert(conn, "run_artifacts", artifacts)
    datasets = {pair: n for n, pair in enumerate(sorted({one[1:] for one in inputs}), 1)}
    read = []
    for (name, digest), number in datasets.items():
        described = {"name": name, "digest": digest, "source_type": "setpoint"}
        described |= {"source": "", "schema": "", "profile": ""}
        said = msgspec.json.encode(described, order="sorted")
        read.append({"id": number, "fingerprint": blake3(said).hexdigest()[:32], **described})
    _insert(conn, "read_datasets", read)
    _insert(
        conn,
        "run_datasets",
        (
            {
                "run_key": key,
                "dataset_id": datasets[name, digest],
                "context": "training",
                "tags": "{}",
            }
            for key, name, digest in inputs
        ),
    )
    if conn.dialect.name == "postgresql":
        conn.execute(
            sa.text(
                "SELECT setval(pg_get_serial_sequence('read_datasets', 'id'), "
                "(SELECT COALESCE(MAX(id), 0) + 1 FROM read_datasets), false)"
            )
        )


def _text(value: Any) -> dict[str, Any]:
    kinds = {str: "s", bool: "b", int: "i", float: "f", type(None): "n"}
    text = repr(value) if isinstance(value, float) else str(value)
    try:
        number = float(text) if len(text) <= _HEAD else None
    except ValueError:
        number = None
    return {
        "type": kinds[type(value)],
        "head": text[:_HEAD],
        "rest": text[_HEAD:] or None,
        "number": number if number is not None and math.isfinite(number) else None,
    }


def _fill_series(
    conn: sa.Connection, rows: list[Any], keys: dict[str, int], names: dict[str, int]
) -> None:
    def tail() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        for (run, name), group in groupby(rows, lambda row: (row.run_id, row.name)):
            points = list(group)
            n = len(points)
            last = points[-1]
            numbers = [point.value for point in points if point.value is not None]
            whose = {"run_key": keys[run], "name_id": names[name]}
            packed = struct.pack(
                f"<{2 * n}q{n}d",
                *(point.step for point in points),
                *(point.at for point in points),
                *(math.nan if point.value is None else point.value for point in points),
            )
            yield (
                {**whose, "points": packed},
                {
                    **whose,
                    "value": last.value,
                    "step": last.step,
                    "at": last.at,
                    "low": min(numbers, default=None),
                    "high": max(numbers, default=None),
                    "count": n,
                    "loose_rows": 1,
                    "loose_points": n,
                },
            )

    both = list(tail())
    _insert(conn, "series_tail", (points for points, _ in both))
    _insert(conn, "run_metrics", (row for _, row in both))


def _insert(conn: sa.Connection, table: str, rows: Iterable[dict[str, Any]]) -> None:
    found = list(rows)
    if found:
        columns: list[Any] = [sa.column(name) for name in found[0]]
        conn.execute(sa.insert(sa.table(table, *columns)), found)
