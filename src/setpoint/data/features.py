"""Features as functions of tables, joined to rows at each row's time and never later.

Two kinds, both plain Python functions of the project's code::

    @features(on="flights")                      # of the row itself
    def schedule(flights: pl.LazyFrame) -> list[pl.Expr]: ...

    @feature_view(by="origin", at="known_at", max_age="3h")   # of what was known then
    def weather_at_origin(weather: pl.LazyFrame) -> pl.LazyFrame: ...

A parameter's name says which source it is given.
"""

import inspect
import re
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

from setpoint.data.names import nearest
from setpoint.errors import Invalid, UserCodeFailed

_ROW = "__row__"
_TIME = "__time__"
_PROBE = 64
_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*(s|sec|m|min|h|d|w)")
_SECONDS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True, kw_only=True)
class RowFeatures:
    """Expressions of a row's own columns."""

    function: Callable[..., Any]
    on: str  #: the source whose rows they are computed on

    @property
    def name(self) -> str:
        return self.function.__name__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


@dataclass(frozen=True, kw_only=True)
class FeatureView:
    """Features of an entity over time; a row gets the newest known by its own time."""

    function: Callable[..., Any]
    by: tuple[str, ...]  #: the columns that name the entity, in the view and in the rows
    at: str  #: the column of the view that says when its values became known
    max_age: timedelta | None  #: values older than this (exactly this old still counts) are null

    @property
    def name(self) -> str:
        return self.function.__name__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


View = RowFeatures | FeatureView


def features(*, on: str) -> Callable[[Callable[..., Any]], RowFeatures]:
    """Declare a function that returns expressions of a row's own columns.

    Args:
        on: The source whose rows they are; also the function's parameter.
    """
    return lambda function: RowFeatures(function=function, on=on)


def feature_view(
    *, by: str | Sequence[str], at: str = "known_at", max_age: str | timedelta | None = None
) -> Callable[[Callable[..., Any]], FeatureView]:
    """Declare a function that returns the features of an entity over time.

    Args:
        by: The column or columns that name the entity.
        at: The column of the result that says when its values became known.
        max_age: How old a value may be for a row to get it: ``3h``, ``7d``; any if None.

    Raises:
        Invalid: If `max_age` is no duration.
    """
    keys = (by,) if isinstance(by, str) else tuple(by)
    age = _duration(max_age) if isinstance(max_age, str) else max_age
    return lambda function: FeatureView(function=function, by=keys, at=at, max_age=age)


def build(
    rows: pl.DataFrame,
    views: Sequence[View],
    sources: Mapping[str, pl.DataFrame],
    time: str,
) -> pl.DataFrame:
    """Compute the features of `rows`, each as known at the row's own time.

    Args:
        rows: What to predict or train on, n rows in any order.
        views: Decorated functions; their columns follow in this order.
        sources: The tables by the names that the functions' parameters have.
        time: The column of `rows` with the time of each row (aware timestamp).

    Returns:
        The features: n rows in the order of `rows`. A row without time or key, or with no
        value known by then, has nulls. Of values known at the same moment the last one in
        the view's order is taken.

    Raises:
        UserCodeFailed: If a function raises, or what it returns cannot be evaluated.
        Invalid: If a parameter names no source, a column is missing, a name is given twice,
            or a row's own feature depends on other rows.
    """
    if time not in rows.columns:
        raise Invalid(f"the rows have no time column {time!r}", hint=nearest(time, rows.columns))
    if not isinstance(rows.schema[time], pl.Datetime):
        raise Invalid(f"the time column {time!r} is {rows.schema[time]}, not a timestamp")
    parts: list[pl.DataFrame] = []
    owner: dict[str, str] = {}
    for view in views:
        if isinstance(view, RowFeatures):
            part = _of_the_row(rows, view, sources)
        elif isinstance(view, FeatureView):
            part = _as_known(rows, view, sources, time)
        else:
            raise Invalid(
                f"{getattr(view, '__name__', view)!r} is no feature",
                hint="decorate it with @sp.features(on=…) or @sp.feature_view(by=…)",
            )
        for column in part.columns:
            if column in owner:
                raise Invalid(f"{owner[column]} and {view.name} both give a feature {column!r}")
            owner[column] = view.name
        parts.append(part)
    return pl.concat(parts, how="horizontal") if parts else rows.select()


def _of_the_row(
    rows: pl.DataFrame, view: RowFeatures, sources: Mapping[str, pl.DataFrame]
) -> pl.DataFrame:
    given = _call(view, {**sources, view.on: rows})
    expressions = list(given) if isinstance(given, Iterable) else [given]
    if not expressions or not all(isinstance(e, pl.Expr) for e in expressions):
        raise Invalid(
            f"the features {view.name!r} must return a list of Polars expressions",
            where=_place(view.function),
        )
    try:
        result = rows.select(expressions)
        ends = [
            (rows.head(_PROBE), result.head(_PROBE)),
            (rows.tail(_PROBE), result.tail(_PROBE)),
        ]
        alone = all(part.select(expressions).equals(expected) for part, expected in ends)
    except pl.exceptions.PolarsError as error:
        raise _failed(view.function, error) from error
    if not alone or result.height != rows.height:
        raise Invalid(
            f"a feature of {view.name!r} depends on other rows, so it could see the future",
            where=_place(view.function),
            hint="features over rows belong in a @sp.feature_view",
        )
    return result


def _as_known(
    rows: pl.DataFrame, view: FeatureView, sources: Mapping[str, pl.DataFrame], time: str
) -> pl.DataFrame:
    keys = list(view.by)
    for key in keys:
        if key not in rows.columns:
            raise Invalid(
                f"{view.name!r} is by {key!r}, which the rows do not have",
                where=_place(view.function),
                hint=nearest(key, rows.columns),
            )
    table = _table(view, sources)
    moment = rows.schema[time]
    try:
        known = (
            table.drop_nulls([*keys, view.at])
            .with_columns(pl.col(view.at).cast(moment).alias(_TIME))
            .drop(view.at)
            .sort(_TIME, maintain_order=True)
        )
        asked = (
            rows.select(*keys, pl.col(time).alias(_TIME))
            .with_row_index(_ROW)
            .drop_nulls([*keys, _TIME])
            .sort(_TIME)
        )
        joined = asked.join_asof(
            known, on=_TIME, by=keys, tolerance=view.max_age, check_sortedness=False
        ).drop(*keys, _TIME)
        if joined.height < rows.height:
            every = rows.select(pl.row_index(_ROW))
            joined = every.join(joined, on=_ROW, how="left")
        return joined.sort(_ROW).drop(_ROW)
    except pl.exceptions.PolarsError as error:
        raise _failed(view.function, error) from error


def _table(view: FeatureView, sources: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    given = _call(view, sources)
    if isinstance(given, pl.LazyFrame):
        try:
            given = given.collect()
        except pl.exceptions.PolarsError as error:
            raise _failed(view.function, error) from error
    if not isinstance(given, pl.DataFrame):
        raise Invalid(
            f"the feature view {view.name!r} returned {type(given).__name__}",
            where=_place(view.function),
            hint="return a Polars LazyFrame",
        )
    for column in (*view.by, view.at):
        if column not in given.columns:
            raise Invalid(
                f"the feature view {view.name!r} returned no column {column!r}",
                where=_place(view.function),
                hint=nearest(column, given.columns),
            )
    if not isinstance(given.schema[view.at], pl.Datetime):
        raise Invalid(
            f"{view.at!r} of {view.name!r} is {given.schema[view.at]}, not a timestamp",
            where=_place(view.function),
        )
    return given


def _call(view: View, sources: Mapping[str, pl.DataFrame]) -> Any:
    given = {}
    for parameter in inspect.signature(view.function).parameters:
        if parameter not in sources:
            raise Invalid(
                f"{view.name!r} asks for {parameter!r}, which is no source",
                where=_place(view.function),
                hint=nearest(parameter, sources),
            )
        given[parameter] = sources[parameter].lazy()
    try:
        return view.function(**given)
    except Exception as error:  # whatever the user's code raises is the user's to see
        raise _failed(view.function, error) from error


def _failed(function: Callable[..., Any], error: Exception) -> UserCodeFailed:
    """Return the error with the line of the user's file that raised it."""
    own = function.__code__.co_filename
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == own]
    where = f"{own}:{frames[-1].lineno}" if frames else _place(function)
    said = str(error).strip().partition("\n")[0]
    return UserCodeFailed(
        f"{function.__name__} failed: {type(error).__name__}: {said}", where=where
    )


def _place(function: Callable[..., Any]) -> str:
    code = function.__code__
    return f"{Path(code.co_filename)}:{code.co_firstlineno}"


def _duration(text: str) -> timedelta:
    match = _AGE.fullmatch(text.strip())
    if match is None:
        raise Invalid(f"{text!r} is no duration", hint="a number and s, min, h, d or w: 3h, 7d")
    return timedelta(seconds=float(match[1]) * _SECONDS[match[2]])
