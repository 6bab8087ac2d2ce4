"""A project's features of rows that are not its own, as a batch has them."""

from collections.abc import Callable
from datetime import datetime

import polars as pl
import polars.selectors as cs

from setpoint.control import sources
from setpoint.control.project import load


def features_of(folder: str, model: str, now: datetime) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Return what makes the features of rows, as training and the gate made them.

    The project's sources are read once, now, and held in memory: feature views look into them.

    Raises:
        NotFound: If there is no project in the folder, or it has no such model.
        UserCodeFailed: If a function of the project raises.
    """
    project = load(folder)
    spec = project.spec(model)
    tables = {name: sources.table(project, spec, name, now).collect() for name in spec.data.source}

    def features(rows: pl.DataFrame) -> pl.DataFrame:
        naive = cs.datetime(time_zone=None)
        aware = rows.with_columns(naive.dt.replace_time_zone("UTC", non_existent="null"))
        return sources.features(project, spec, aware, tables)

    return features
