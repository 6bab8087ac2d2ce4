from datetime import UTC, datetime

import polars as pl
import pytest

from setpoint.data import checks
from setpoint.data.contract import Contract, parse
from setpoint.errors import Invalid

HEAD = """
version: 1.0.0
apiVersion: v3.1.0
kind: DataContract
id: orders
status: active
schema:
- name: orders
  properties:
"""

ORDERS = (
    HEAD
    + """
  - {name: id, logicalType: integer, primaryKey: true}
  - name: amount
    logicalType: number
    required: true
    logicalTypeOptions: {minimum: 0, exclusiveMaximum: 1000}
  - name: country
    logicalType: string
    logicalTypeOptions: {pattern: '^[A-Z]{2}$', maxLength: 2}
    quality:
    - metric: invalidValues
      arguments: {validValues: [DE, FR]}
      mustBeLessThan: 40
      unit: percent
      severity: warning
  - name: at
    logicalType: timestamp
    logicalTypeOptions: {minimum: '2026-01-01T00:00:00Z'}
  quality:
  - {metric: rowCount, mustBeBetween: [1, 10]}
  - {type: sql, query: 'SELECT SUM(amount) FROM ${table}', mustBeGreaterThan: 5}
  - {type: custom, engine: polars, implementation: "amount < 500 OR country = 'DE'"}
"""
)


def orders() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "id": [1, 2, 2, None, 5],
            "amount": [1.0, -1.0, float("nan"), 600.0, float("inf")],
            "country": ["DE", "FR", "de", "FR", None],
            "at": [datetime(2026, 1, 1, tzinfo=UTC)] * 4 + [datetime(2025, 1, 1, tzinfo=UTC)],
        }
    )


def contract(properties: str) -> Contract:
    return parse(HEAD + properties)


def test_one_pass_counts_the_failing_rows_of_every_rule() -> None:
    report = checks.check(orders().lazy(), parse(ORDERS))
    assert {c.name: c.failing for c in report.checks if not c.passed} == {
        "id is not null": 1,
        "id is the primary key": 1,
        "amount is not null": 1,
        "amount minimum 0": 1,
        "amount exclusiveMaximum 1000": 1,
        "country pattern ^[A-Z]{2}$": 1,
        "at minimum 2026-01-01T00:00:00Z": 1,
        "SELECT SUM(amount) FROM self": 1,
        "amount < 500 OR country = 'DE'": 2,
    }
    assert report.rows == 5


def test_a_failing_row_says_every_reason_and_the_first_of_repeated_keys_stays() -> None:
    rules = parse(ORDERS).rules
    good, bad = checks.failing(orders(), [r for r in rules if r.severity == "error"])
    assert good["id"].to_list() == [1]
    assert bad[checks.REASONS].to_list() == [
        ["amount minimum 0"],
        [
            "amount is not null",
            "country pattern ^[A-Z]{2}$",
            "id is the primary key",
            "amount < 500 OR country = 'DE'",
        ],
        ["id is not null", "amount < 500 OR country = 'DE'"],
        ["amount exclusiveMaximum 1000", "at minimum 2026-01-01T00:00:00Z"],
    ]


def test_counting_and_naming_agree_on_every_rule() -> None:
    rules = [r for r in parse(ORDERS).rules if r.kind not in ("rowCount", "sql")]
    report = {c.name: c.failing for c in checks.check(orders().lazy(), parse(ORDERS)).checks}
    for rule in rules:
        assert checks.failing(orders(), [rule])[1].height == report[rule.name], rule.name


def test_a_bound_in_percent_says_what_was_found() -> None:
    frame = orders().with_columns(country=pl.lit("GB"))
    found = {c.name: c for c in checks.check(frame.lazy(), parse(ORDERS)).checks}
    share = found["country is one of DE, FR"]
    assert (share.passed, share.severity) == (False, "warning")
    assert share.detail == "100 %; must be less than 40 %"


def test_a_missing_column_is_named_with_the_nearest_one() -> None:
    frame = orders().rename({"country": "countri"})
    with pytest.raises(Invalid, match="'country' of the contract is missing") as caught:
        checks.check(frame.lazy(), parse(ORDERS))
    assert caught.value.hint == "did you mean 'countri'?"


def test_a_wrong_type_says_both_types() -> None:
    frame = orders().with_columns(pl.col("amount").cast(pl.String))
    with pytest.raises(Invalid, match="column 'amount' is String, the contract says number"):
        checks.check(frame.lazy(), parse(ORDERS))


def test_a_rule_that_cannot_be_compared_with_its_column_is_refused() -> None:
    rule = contract("  - {name: id, logicalTypeOptions: {minimum: early}}")
    with pytest.raises(Invalid, match="minimum: 'early' cannot be compared with Int64"):
        checks.check(orders().lazy(), rule)


def test_a_query_that_fails_is_refused_with_its_reason() -> None:
    rule = contract(
        "  - {name: id}\n  quality:\n  - {type: sql, query: SELECT x FROM self, mustBe: 1}"
    )
    with pytest.raises(Invalid, match="the query of a rule fails"):
        checks.check(orders().lazy(), rule)


@pytest.mark.parametrize(
    ("rule", "values", "failing"),
    [
        ("{name: x, required: true}", [1, None], 1),
        ("{name: x, unique: true}", [1, 1, 1, None, None], 2),
        ("{name: x, enum: [{value: 1}, {value: 2}]}", [1, 2, 3, None], 1),
        ("{name: x, logicalTypeOptions: {multipleOf: 5}}", [5, 10, 11, None], 1),
        ("{name: x, quality: [{metric: nullValues, mustBe: 0}]}", [1, None, None], 2),
        (
            """{name: x, quality: [{metric: missingValues, mustBe: 0,
                arguments: {missingValues: [null, -1]}}]}""",
            [1, None, -1],
            2,
        ),
        ("{name: x, quality: [{metric: duplicateValues, mustBe: 0}]}", [1, 1, 2], 1),
    ],
)
def test_each_kind_of_rule_counts_its_rows(rule: str, values: list[int], failing: int) -> None:
    frame = pl.LazyFrame({"x": values})
    (result,) = checks.check(frame, contract(f"  - {rule}")).checks
    assert (result.failing, result.passed) == (failing, False)


def test_a_contract_on_no_rows_fails_only_where_rows_are_demanded() -> None:
    report = checks.check(orders().clear().lazy(), parse(ORDERS))
    assert [c.name for c in report.checks if not c.passed] == [
        "row count",
        "SELECT SUM(amount) FROM self",
    ]
