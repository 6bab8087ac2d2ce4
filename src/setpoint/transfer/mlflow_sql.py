"""MLflow's database, read by its own names of tables and columns."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from sqlalchemy import MetaData, create_engine, select
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from setpoint.runs.columns import Columns
from setpoint.runs.entities import Dataset
from setpoint.transfer.entities import Content, Left, SourceModel, SourceRun, SourceVersion
from setpoint.transfer.mlflow import (
    DELETED,
    KIND,
    damaged,
    dataset_of,
    files_at,
    run_of,
    unbounded,
    version_of,
)

_TABLES = ("experiments", "runs", "params", "tags", "metrics")
_OTHER = ("logged_models", "trace_info")


class MlflowSql:
    kind = KIND

    def __init__(self, where: str, url: str) -> None:
        self.where = where
        self._tables = MetaData()
        self._left: list[Left] = []
        self._places: dict[str, str] = {}
        try:
            self._engine = create_engine(url)
        except (SQLAlchemyError, ImportError) as error:
            raise damaged(where, error) from None
        if trouble := self._trouble():
            self.close()
            raise damaged(where, trouble)

    def runs(self) -> Sequence[SourceRun]:
        t = self._tables.tables
        with self._engine.connect() as conn:
            experiments = {
                row.experiment_id: row.name for row in conn.execute(select(t["experiments"]))
            }
            params, tags = self._values(conn, "params"), self._values(conn, "tags")
            datasets = self._datasets(conn)
            self._leave_others(conn)
            rows = conn.execute(select(t["runs"]).order_by("start_time", "run_uuid")).mappings()
            found = [
                run_of(
                    {**row, "run_id": row["run_uuid"], "run_name": row.get("name")},
                    experiments.get(row["experiment_id"], str(row["experiment_id"])),
                    params=params.get(row["run_uuid"], {}),
                    tags=tags.get(row["run_uuid"], {}),
                    datasets=datasets.get(row["run_uuid"], []),
                )
                for row in rows
            ]
            places = select(t["runs"].c.run_uuid, t["runs"].c.artifact_uri)
            self._places = {run: uri or "" for run, uri in conn.execute(places)}
        return found

    def experiments(self) -> dict[str, dict[str, str]]:
        t = self._tables.tables
        if "experiment_tags" not in t:
            return {}
        e, tags = t["experiments"].c, t["experiment_tags"].c
        query = select(e.name, tags.key, tags.value).where(e.experiment_id == tags.experiment_id)
        found: dict[str, dict[str, str]] = {}
        with self._engine.connect() as conn:
            for name, key, value in conn.execute(query):
                found.setdefault(name, {})[key] = value or ""
        return found

    def close(self) -> None:
        self._engine.dispose()

    def left(self) -> list[Left]:
        return self._left

    def models(self) -> Sequence[SourceModel]:
        t = self._tables.tables
        if not {"registered_models", "model_versions"} <= t.keys():
            return []
        with self._engine.connect() as conn:
            tags = self._named(conn, "registered_model_tags", "name")
            said = self._named(conn, "model_version_tags", "name", "version")
            aliases: dict[str, dict[str, int]] = {}
            if "registered_model_aliases" in t:
                for row in conn.execute(select(t["registered_model_aliases"])):
                    aliases.setdefault(row.name, {})[row.alias] = int(row.version)
            logged: dict[str, str] = {}
            if "logged_models" in t:
                m = t["logged_models"].c
                places = select(m.model_id, m.artifact_location)
                logged = {each: place or "" for each, place in conn.execute(places)}
            v = t["model_versions"].c
            query = select(t["model_versions"]).order_by(v.name, v.version)
            versions: dict[str, list[SourceVersion]] = {}
            for about in conn.execute(query).mappings():
                own = said.get((about["name"], about["version"]), {})
                if about["current_stage"] != DELETED:
                    version = self._version(about, own, logged)
                    versions.setdefault(about["name"], []).append(version)
            models = conn.execute(select(t["registered_models"])).all()
        return [
            SourceModel(
                name=row.name,
                description=row.description or "",
                tags=tags.get((row.name,), {}),
                aliases=aliases.get(row.name, {}),
                versions=versions.get(row.name, []),
            )
            for row in models
        ]

    def _version(
        self, row: Mapping[Any, Any], tags: dict[str, str], logged: dict[str, str]
    ) -> SourceVersion:
        at = str(row.get("storage_location") or row["source"] or "")
        if at.startswith("models:/m-"):
            at = logged.get(at.removeprefix("models:/"), at)
        return version_of(
            row,
            tags=tags,
            at=at,
            run_at=self._places.get(row["run_id"] or "", ""),
            files=partial(files_at, at, f"{row['name']}/{row['version']}"),
        )

    def _named(
        self, conn: Connection, table: str, *owner: str
    ) -> dict[tuple[Any, ...], dict[str, str]]:
        """Return the values of a table of keys and values, by the columns that own them."""
        found: dict[tuple[Any, ...], dict[str, str]] = {}
        if table in self._tables.tables:
            for row in conn.execute(select(self._tables.tables[table])).mappings():
                whose = tuple(row[name] for name in owner)
                found.setdefault(whose, {})[row["key"]] = row["value"] or ""
        return found

    def content(self, run: SourceRun) -> Content:
        left: list[Left] = []
        files = files_at(self._places[run.id], run.id, left)
        return Content(series=self._series(run.id), files=files, left=left)

    def _trouble(self) -> Exception | None:
        """Read which tables there are; return why they cannot be MLflow's."""
        try:
            self._tables.reflect(self._engine)
        except (SQLAlchemyError, ImportError) as error:
            return error
        missing = [name for name in _TABLES if name not in self._tables.tables]
        return ValueError(f"it has no table {', '.join(missing)}") if missing else None

    def _values(self, conn: Connection, table: str) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for row in conn.execute(select(self._tables.tables[table])):
            found.setdefault(row.run_uuid, {})[row.key] = row.value or ""
        return found

    def _series(self, run: str) -> Iterator[tuple[str, Columns]]:
        m = self._tables.tables["metrics"].c
        query = (
            select(m.key, m.step, m.timestamp, m.value, m.is_nan)
            .where(m.run_uuid == run)
            .order_by(m.key, m.step, m.timestamp, m.value)
        )
        with self._engine.connect() as conn:
            rows = conn.execute(query).all()
        start = 0
        for end in range(1, len(rows) + 1):
            if end == len(rows) or rows[end].key != rows[start].key:
                yield rows[start].key, _columns(rows[start:end])
                start = end

    def _datasets(self, conn: Connection) -> dict[str, list[Dataset]]:
        t = self._tables.tables
        if not {"inputs", "datasets", "input_tags"} <= t.keys():
            return {}
        tags: dict[str, dict[str, str]] = {}
        for row in conn.execute(select(t["input_tags"])):
            tags.setdefault(row.input_uuid, {})[row.name] = row.value
        i, d = t["inputs"].c, t["datasets"].c
        query = select(t["datasets"], i.destination_id, i.input_uuid).where(
            i.source_id == d.dataset_uuid, i.source_type == "DATASET", i.destination_type == "RUN"
        )
        found: dict[str, list[Dataset]] = {}
        for row in conn.execute(query):
            about = {
                "name": row.name,
                "digest": row.digest,
                "source_type": row.dataset_source_type,
                "source": row.dataset_source,
                "schema": row.dataset_schema,
                "profile": row.dataset_profile,
            }
            dataset = dataset_of(about, tags.get(row.input_uuid, {}))
            found.setdefault(row.destination_id, []).append(dataset)
        return found

    def _leave_others(self, conn: Connection) -> None:
        for name in _OTHER:
            if name in self._tables.tables:
                count = len(conn.execute(select(self._tables.tables[name])).all())
                if count:
                    why = "an import brings runs and registered models"
                    self._left.append(
                        Left(run="", what=f"{count} {name.replace('_', ' ')}", why=why)
                    )


def _columns(rows: Sequence[Any]) -> Columns:
    values = np.array([np.nan if row.is_nan else row.value for row in rows], np.float64)
    return Columns(
        np.array([row.step for row in rows], np.int64),
        np.array([row.timestamp * 1000 for row in rows], np.int64),
        unbounded(values),
    )
