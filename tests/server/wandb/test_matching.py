"""Filters in Mongo's language."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.errors import Invalid
from setpoint.server.wandb.matching import matches, order_key

RUN = {
    "name": "r1",
    "display_name": "First try",
    "state": "finished",
    "tags": ["a", "b"],
    "group": None,
    "config": {"lr": 0.1, "net.depth": 3, "opt": {"name": "adam"}, "flag": True},
    "summary_metrics": {"loss": 0.5, "val/acc": 0.9},
}


@pytest.mark.parametrize(
    ("query", "holds"),
    [
        ({}, True),
        ({"name": "r1"}, True),
        ({"displayName": {"$regex": "^First"}}, True),
        ({"tags": "a"}, True),
        ({"tags": {"$in": ["z", "b"]}}, True),
        ({"tags": {"$nin": ["b"]}}, False),
        ({"tags": {"$ne": "c"}}, True),
        ({"group": None}, True),
        ({"config.lr": 0.1}, True),
        ({"config.lr.value": {"$gt": 0.05, "$lt": 0.2}}, True),
        ({"config.net.depth": 3}, True),
        ({"config.opt.name": "adam"}, True),
        ({"config.opt.value.name": "adam"}, True),
        ({"config.flag": 1}, False),
        ({"config.flag": True}, True),
        ({"config.missing": {"$exists": False}}, True),
        ({"config.missing": {"$lt": 5}}, False),
        ({"config.missing": {"$ne": 5}}, True),
        ({"summaryMetrics.val/acc": {"$gte": 0.9}}, True),
        ({"summary_metrics.loss": {"$not": {"$gt": 0.6}}}, True),
        ({"$or": [{"name": "x"}, {"state": "finished"}]}, True),
        ({"$and": [{"name": "r1"}, {"state": "running"}]}, False),
        ({"$nor": [{"name": "x"}, {"state": "running"}]}, True),
        ({"state": {"$lt": 5}}, False),
    ],
)
def test_a_run_meets_a_filter(query: dict[str, Any], holds: bool) -> None:  # noqa: FBT001
    assert matches(query, RUN) is holds


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"name": {"$near": 1}}, r"no operator \$near"),
        ({"$xor": []}, r"no operator \$xor"),
        ({"$and": {}}, "takes a list"),
        ({"name": {"$in": "r1"}}, "take a list"),
        ({"name": {"$regex": "("}}, "no regular expression"),
        ([], "a filter is an object"),
    ],
)
def test_what_cannot_be_asked_is_told(query: Any, told: str) -> None:
    with pytest.raises(Invalid, match=told):
        matches(query, RUN)


@given(st.lists(st.none() | st.floats() | st.integers() | st.text(max_size=3)))
def test_any_values_can_be_sorted_and_numbers_come_first(values: list[Any]) -> None:
    documents = [{"config": {"x": value}} for value in values]
    kinds = [order_key("config.x")(document)[0] for document in documents]
    assert [
        order_key("config.x")(document)[0]
        for document in sorted(documents, key=order_key("config.x"))
    ] == sorted(kinds)
