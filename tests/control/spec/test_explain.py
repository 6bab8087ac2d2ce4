"""Every default is visible, and so is every change."""

import msgspec
from tests.control.spec.examples import ALL, DEMAND, FLIGHTS, SMALLEST

from setpoint.control.spec.explain import Change, changes, explain
from setpoint.control.spec.parse import parse


def test_of_the_smallest_spec_everything_but_three_keys_is_a_default() -> None:
    rows = explain(parse(SMALLEST))
    written = [row.path for row in rows if not row.default]
    assert written == ["model", "data.source", "train.code"]
    values = {row.path: row.value for row in rows}
    assert values["release.canary.steps"] == "[5%, 25%, 100%]"
    assert values["release.shadow.for"] == "500 requests"
    assert values["watch.alarm_budget"] == "1/month"
    assert values["serve.log.keep"] == "90d"
    assert values["train.split.by"] == "random"
    assert values["guardrails.slices"] == "not set"
    assert values["watch.drift.features"] == "all"


def test_every_key_has_a_meaning_and_stands_once() -> None:
    for text in ALL.values():
        rows = explain(parse(text))
        assert all(row.meaning and row.value for row in rows)
        assert len({row.path for row in rows}) == len(rows)


def test_values_are_shown_as_people_write_them() -> None:
    values = {row.path: row.value for row in explain(parse(DEMAND))}
    assert values["train.split.test"] == "10%"
    assert values["business.must_not_fall"] == "150%"
    assert values["watch.drift.features"] == "[price, weekday]"
    assert values["data.source"] == "{sales: demand:sales, days: data/days.csv}"
    assert values["guardrails.slices.mae.at_most"] == "20"
    assert "guardrails.slices.rmse" not in values


def test_a_default_that_follows_another_key_counts_as_one() -> None:
    rows = {row.path: row for row in explain(parse(FLIGHTS))}
    assert rows["train.split.by"].default
    assert rows["objective.better_than"].default
    assert not rows["train.split.test"].default


def test_changes_are_the_keys_whose_values_differ() -> None:
    before, after = parse(FLIGHTS), parse(FLIGHTS.replace("0.68", "0.7"))
    assert changes(before, before) == []
    assert changes(before, after) == [Change(path="objective.at_least", before="0.68", after="0.7")]


def test_a_group_that_goes_is_a_change_of_its_keys() -> None:
    before = parse(FLIGHTS)
    after = msgspec.structs.replace(before, business=None)
    found = {change.path: change.after for change in changes(before, after)}
    assert found["business.metric"] == "not set"
