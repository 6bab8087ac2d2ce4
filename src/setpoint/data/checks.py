"""Checking rows against a contract: one lazy select counts all, a second pass names rows.

The select has one sum per rule, so Polars reads each column once whatever the number of
rules. Only if something failed are the failing rows themselves looked for.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
from msgspec import Struct

from setpoint.data.contract import Bound, Contract, Rule
from setpoint.data.entities import CheckResult
from setpoint.data.names import nearest
from setpoint.errors import Invalid

REASONS = "reasons"  #: the column that `failing` adds
_ROW = "__row__"


class Report(Struct, frozen=True, kw_only=True):
    """All checks of a contract on one set of rows."""

    rows: int
    checks: list[CheckResult]  #: in the contract's order of rules
    undeclared: list[str]  #: columns the contract does not know; allowed


def check(frame: pl.LazyFrame, contract: Contract) -> Report:
    """Count the failing rows of every rule in one pass.

    Raises:
        Invalid: If a column the contract declares is missing, or has another type.
    """
    schema = frame.collect_schema()
    require(schema, contract)
    counts = [
        _count(rule, schema).alias(str(i))
        for i, rule in enumerate(contract.rules)
        if rule.kind != "sql"
    ]
    try:
        found = frame.select(pl.len().alias("rows"), *counts).collect().row(0, named=True)
    except pl.exceptions.PolarsError as error:
        raise Invalid(f"a rule cannot be evaluated: {error}", where=contract.where) from None
    rows = int(found["rows"])
    results = []
    for i, rule in enumerate(contract.rules):
        value = _query(frame, rule, contract) if rule.kind == "sql" else found[str(i)] or 0
        results.append(_result(rule, value, rows))
    return Report(
        rows=rows, checks=results, undeclared=[c for c in schema if c not in contract.types]
    )


def failing(frame: pl.DataFrame, rules: Sequence[Rule]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split rows into (good, failing); the failing ones say why in `reasons`.

    Of rows that repeat a unique key the first one is good. Rules that concern no single row
    (``rowCount``, ``sql``) set no row aside.
    """
    tests = [(rule, row_test(rule, frame.schema)) for rule in rules]
    named = [(rule, test.fill_null(value=False)) for rule, test in tests if test is not None]
    if not named:
        return frame, frame.clear().with_columns(pl.Series(REASONS, [], dtype=pl.List(pl.String)))
    marks = frame.select(
        pl.when(test).then(pl.lit(rule.name)).alias(str(i)) for i, (rule, test) in enumerate(named)
    )
    bad = marks.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
    reasons = marks.filter(bad).select(pl.concat_list(pl.all()).list.drop_nulls().alias(REASONS))
    return frame.filter(~bad), frame.filter(bad).hstack(reasons)


def require(schema: pl.Schema, contract: Contract) -> None:
    """Check names and types of columns.

    Raises:
        Invalid: Naming the first column that is missing or has another type.
    """
    for column, logical in contract.types.items():
        if column not in schema:
            raise Invalid(
                f"column {column!r} of the contract is missing from the data",
                where=contract.where,
                hint=nearest(column, schema),
            )
        if logical and not _fits(schema[column], logical):
            raise Invalid(
                f"column {column!r} is {schema[column]}, the contract says {logical}",
                where=contract.where,
                hint=f"cast it in the source, or declare it {_logical(schema[column])}",
            )
    for rule in contract.rules:
        for column in rule.columns:
            if column not in schema:
                raise Invalid(
                    f"the rule {rule.name!r} needs the column {column!r}, which is missing",
                    where=contract.where,
                    hint=nearest(column, schema),
                )


def row_test(rule: Rule, schema: pl.Schema) -> pl.Expr | None:
    """Return what is true where a row fails; None for a rule about the whole table."""
    if rule.kind in ("rowCount", "sql"):
        return None
    if rule.kind in ("unique", "duplicateValues"):
        whole = pl.struct(rule.columns) if len(rule.columns) > 1 else pl.col(rule.columns[0])
        present = pl.all_horizontal(pl.col(c).is_not_null() for c in rule.columns)
        return present & ~whole.is_first_distinct()
    if rule.kind == "polars":
        return ~_sql_expression(rule)
    column = pl.col(rule.columns[0])
    dtype = schema[rule.columns[0]]
    try:
        return _TESTS[rule.kind](column, rule.value, dtype)
    except (ValueError, TypeError):
        raise Invalid(
            f"{rule.kind}: {rule.value!r} cannot be compared with {dtype}",
            hint=f"change the rule {rule.name!r} in the contract",
        ) from None


def _count(rule: Rule, schema: pl.Schema) -> pl.Expr:
    if rule.kind in ("unique", "duplicateValues"):
        if len(rule.columns) == 1:
            column = pl.col(rule.columns[0]).drop_nulls()
            return column.len() - column.n_unique()
        present = pl.all_horizontal(pl.col(c).is_not_null() for c in rule.columns)
        whole = pl.struct(rule.columns).filter(present)
        return whole.len() - whole.n_unique()
    test = row_test(rule, schema)
    if test is None:
        return pl.len()
    return test.sum()


def _result(rule: Rule, value: float, rows: int) -> CheckResult:
    bound = rule.bound
    measured = (100 * value / rows if rows else 0.0) if bound.percent else value
    passed = _holds(measured, bound)
    whole = rule.kind in ("rowCount", "sql")
    unit = " %" if bound.percent else ""
    detail = f"{measured:,.6g}{unit}; must be {_words(bound)}{unit}"
    return CheckResult(
        name=rule.name,
        column=", ".join(rule.columns) or None,
        passed=passed,
        failing=int(not passed) if whole else int(value),
        total=rows,
        severity=rule.severity,
        detail=detail if whole or bound.percent or bound.value != 0 else "",
    )


def _holds(value: float, bound: Bound) -> bool:
    limit = bound.value
    tests: dict[str, Callable[[], bool]] = {
        "mustBe": lambda: value == limit,
        "mustNotBe": lambda: value != limit,
        "mustBeGreaterThan": lambda: value > limit,
        "mustBeGreaterOrEqualTo": lambda: value >= limit,
        "mustBeLessThan": lambda: value < limit,
        "mustBeLessOrEqualTo": lambda: value <= limit,
        "mustBeBetween": lambda: limit[0] <= value <= limit[1],
        "mustNotBeBetween": lambda: not limit[0] <= value <= limit[1],
    }
    return tests[bound.operator]()


def _words(bound: Bound) -> str:
    words = {
        "mustBe": "{}",
        "mustNotBe": "other than {}",
        "mustBeGreaterThan": "more than {}",
        "mustBeGreaterOrEqualTo": "at least {}",
        "mustBeLessThan": "less than {}",
        "mustBeLessOrEqualTo": "at most {}",
        "mustBeBetween": "between {} and {}",
        "mustNotBeBetween": "outside {} to {}",
    }
    values = bound.value if isinstance(bound.value, list) else [bound.value]
    return words[bound.operator].format(*values)


def _query(frame: pl.LazyFrame, rule: Rule, contract: Contract) -> float:
    try:
        found = frame.sql(rule.value).collect()
        value = found.item()
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise Invalid(
            f"the query of a rule fails: {error}",
            where=contract.where,
            hint="it must give one number; write ${table} for the table",
        ) from None
    return float(value or 0)


def _sql_expression(rule: Rule) -> pl.Expr:
    try:
        expression: pl.Expr = pl.sql_expr(rule.value)
    except pl.exceptions.PolarsError as error:
        raise Invalid(f"{rule.value!r} is no SQL expression: {error}") from None
    return expression


def _finite(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """NaN is missing, not big: comparisons leave it to `required`."""
    return column.fill_nan(None) if dtype.is_float() else column


def _missing(column: pl.Expr, _: Any, dtype: pl.DataType) -> pl.Expr:
    return _finite(column, dtype).is_null()


def _among(column: pl.Expr, values: Any, dtype: pl.DataType) -> pl.Expr:
    return ~_finite(column, dtype).is_in([_typed(v, dtype) for v in values])


def _missing_values(column: pl.Expr, values: Any, dtype: pl.DataType) -> pl.Expr:
    present = [_typed(v, dtype) for v in values if v is not None]
    test = _finite(column, dtype).is_null()
    return test | column.is_in(present) if present else test


def _invalid_values(column: pl.Expr, arguments: Any, dtype: pl.DataType) -> pl.Expr:
    tests = {
        "validValues": "enum",
        "pattern": "pattern",
        "minimum": "minimum",
        "maximum": "maximum",
    }
    return pl.any_horizontal(
        _TESTS[tests[name]](column, value, dtype) for name, value in arguments.items()
    )


def _compare(operator: str) -> Callable[[pl.Expr, Any, pl.DataType], pl.Expr]:
    def test(column: pl.Expr, value: Any, dtype: pl.DataType) -> pl.Expr:
        compared: pl.Expr = getattr(_finite(column, dtype), operator)(pl.lit(_typed(value, dtype)))
        return compared

    return test


def _multiple(column: pl.Expr, value: Any, dtype: pl.DataType) -> pl.Expr:
    return (column % pl.lit(_typed(value, dtype))) != 0


def _pattern(column: pl.Expr, pattern: Any, dtype: pl.DataType) -> pl.Expr:
    return ~_text(column, dtype).str.contains(str(pattern))


def _text(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if not isinstance(dtype, pl.String | pl.Categorical | pl.Enum | pl.Null):
        raise TypeError
    return column.cast(pl.String)


def _typed(value: Any, dtype: pl.DataType) -> Any:
    """Return a value of the YAML as one that compares with `dtype`."""
    if isinstance(dtype, pl.Datetime):
        at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        if dtype.time_zone and at.tzinfo is None:
            return at.replace(tzinfo=UTC)
        return at if dtype.time_zone else at.replace(tzinfo=None)
    if isinstance(dtype, pl.Date):
        return value if isinstance(value, date) else date.fromisoformat(str(value))
    if dtype.is_numeric() and not isinstance(value, int | float):
        raise TypeError
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum) and not isinstance(value, str):
        raise TypeError
    return value


_TESTS: dict[str, Callable[[pl.Expr, Any, pl.DataType], pl.Expr]] = {
    "required": _missing,
    "nullValues": _missing,
    "missingValues": _missing_values,
    "invalidValues": _invalid_values,
    "enum": _among,
    "minimum": _compare("lt"),
    "maximum": _compare("gt"),
    "exclusiveMinimum": _compare("le"),
    "exclusiveMaximum": _compare("ge"),
    "multipleOf": _multiple,
    "minLength": lambda c, v, d: _text(c, d).str.len_chars() < v,
    "maxLength": lambda c, v, d: _text(c, d).str.len_chars() > v,
    "pattern": _pattern,
}


def _fits(dtype: pl.DataType, logical: str) -> bool:
    if isinstance(dtype, pl.Null):
        return True
    if logical == "number":
        return dtype.is_numeric()
    return _logical(dtype) == logical or logical in ("map", "vector")


def _logical(dtype: pl.DataType) -> str:
    if dtype.is_integer():
        return "integer"
    if dtype.is_numeric():
        return "number"
    kinds: tuple[tuple[tuple[type[pl.DataType], ...], str], ...] = (
        ((pl.String, pl.Categorical, pl.Enum), "string"),
        ((pl.Boolean,), "boolean"),
        ((pl.Date,), "date"),
        ((pl.Datetime,), "timestamp"),
        ((pl.Time,), "time"),
        ((pl.List, pl.Array), "array"),
    )
    return next((name for types, name in kinds if isinstance(dtype, types)), "object")
