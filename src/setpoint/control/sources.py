"""The tables a spec names and the features made of them, as Polars frames."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import polars as pl
import polars.selectors as cs

from setpoint.control.project import Project, active, call_by_name, function
from setpoint.control.spec.entities import Spec
from setpoint.control.spec.names import is_code
from setpoint.control.spec.suggest import did_you_mean
from setpoint.data import features as views
from setpoint.errors import Invalid, NotFound, Unavailable

_AT = "__at__"


def table(project: Project, spec: Spec, name: str, now: datetime) -> pl.LazyFrame:
    """Return all rows of one source that are known by `now`, not yet read.

    Files are read relative to the project's folder; in a CSV file, dates and times are
    recognised. Functions are given `now`. Timestamps without a time zone are taken as
    UTC.

    Raises:
        NotFound: If there is no such file or function.
        Invalid: If the file cannot be read as what its name says, or the function
            returns no frame.
        UserCodeFailed: If the function raises.
    """
    source = spec.data.source[name]
    where = project.where(spec, f"data.source.{name}")
    if is_code(source):
        given = call_by_name(function(project, source, where=where), {"now": now}, name=source)
        if not isinstance(given, pl.LazyFrame | pl.DataFrame):
            hint = "return a Polars DataFrame or LazyFrame"
            raise Invalid(f"{source} returned {type(given).__name__}", where=where, hint=hint)
        frame = given.lazy()
    else:
        frame = _file(project.path(source), where)
    try:
        return frame.with_columns(
            cs.datetime(time_zone=None).dt.replace_time_zone("UTC", non_existent="null")
        )
    except pl.exceptions.PolarsError as error:
        raise Invalid(f"{source} cannot be read: {error}", where=where) from error


def features(
    project: Project,
    spec: Spec,
    rows: pl.DataFrame,
    tables: Mapping[str, pl.DataFrame],
) -> pl.DataFrame:
    """Return the features of rows, each as known at the row's own time.

    Without `features` in the spec: all numeric and boolean columns but label, entity
    and time.

    Args:
        project: The project.
        spec: One of its specs.
        rows: What to predict or train on, n rows.
        tables: The sources by name, which feature functions ask for.

    Returns:
        n rows, one column a feature, in the order of the spec.

    Raises:
        Invalid: If a function is no feature, or asks for what there is not.
        UserCodeFailed: If a function raises.
    """
    if not spec.features:
        return _plain(spec, rows)
    made = [
        function(project, code, where=project.where(spec, "features")) for code in spec.features
    ]
    time = spec.data.time
    if time is None:
        for code, view in zip(spec.features, made, strict=True):
            if isinstance(view, views.FeatureView):
                raise Invalid(
                    f"{code} is as known at a time, and data.time is not set",
                    where=project.where(spec, "features"),
                    hint="set data.time to the column with the moment of a prediction",
                )
        time, rows = (
            _AT,
            rows.with_columns(pl.lit(None, pl.Datetime("us", "UTC")).alias(_AT)),
        )
    with active(project):
        return views.build(rows, made, tables, time).select(pl.exclude(_AT))


def _file(path: Path, where: str) -> pl.LazyFrame:
    if not path.is_file():
        others = path.parent.glob("*.*") if path.parent.is_dir() else []
        raise NotFound(
            f"there is no file {path}",
            where=where,
            hint=did_you_mean(path.name, sorted(other.name for other in others)),
        )
    try:
        if path.suffix.lower() == ".csv":
            frame = pl.scan_csv(path, try_parse_dates=True)
        else:
            frame = pl.scan_parquet(path)
        frame.collect_schema()
    except pl.exceptions.PolarsError as error:
        said = str(error).partition("\n")[0]
        raise Invalid(f"{path} cannot be read: {said}", where=where) from error
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error}", where=where) from error
    return frame


def _plain(spec: Spec, rows: pl.DataFrame) -> pl.DataFrame:
    data = spec.data
    others = {data.label.column, data.label.known_at, data.entity, data.time, "known_at"}
    others.add(spec.privacy.subject)
    found = rows.select(cs.numeric() | cs.boolean())
    found = found.select([column for column in found.columns if column not in others])
    if not found.columns:
        raise Invalid(
            f"“{data.rows}” has no numeric column beside label, entity and time",
            hint="make features with functions: features: [module:function]",
        )
    return found
