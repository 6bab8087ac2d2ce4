"""Rows become points, and points rows again."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.errors import Invalid
from setpoint.runs.columns import arrays
from setpoint.server.wandb.runs import history

_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="."), min_size=1, max_size=8)
_PLAIN = (
    st.floats(width=64)
    | st.integers(-(2**70), 2**70)
    | st.booleans()
    | st.none()
    | st.text(max_size=5)
)
_MEDIA = st.fixed_dictionaries({"_type": st.just("image-file"), "size": st.integers(0, 9)})
_VALUES = st.recursive(
    _PLAIN | _MEDIA | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=5,
)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _again(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    batch = history.read([json.dumps(row) for row in rows], 0, 0)
    return history.rows({one.name: arrays(one) for one in batch.series}, batch.rest)


@given(st.lists(st.dictionaries(_NAMES.filter(lambda n: n[0] != "_"), _VALUES, max_size=4)))
def test_rows_come_back_as_they_were(rows: list[dict[str, Any]]) -> None:
    sent = [{**row, "_step": step, "_timestamp": 1.5 + step} for step, row in enumerate(rows)]
    told = {row["_step"]: row for row in _again(sent)}
    for row in sent:
        kept = {name: value for name, value in row.items() if name[0] != "_"}
        back = told.get(row["_step"], {})
        assert _same(kept, {name: value for name, value in back.items() if name[0] != "_"})


def test_a_row_has_its_step_and_its_time() -> None:
    (row,) = _again([{"loss": 0.5, "_step": 7, "_timestamp": 1795445420.700385, "_runtime": 2.5}])
    kept = {"_step": 7, "_timestamp": 1795445420.700385, "loss": 0.5}
    assert row == {**kept, history.RUNTIME: 2.5}


def test_nested_numbers_are_points_of_dotted_names() -> None:
    batch = history.read(['{"a": {"b": {"c": 1}, "d": 2}, "_step": 3}'], 0, 0)
    assert {one.name: arrays(one).values.tolist() for one in batch.series} == {
        "a.b.c": [1],
        "a.d": [2],
    }


def test_a_row_without_step_or_time_has_its_number_and_the_present() -> None:
    batch = history.read(['{"a": 1}', '{"a": 2}'], 40, 9_000_000)
    (series,) = batch.series
    assert arrays(series).steps.tolist() == [40, 41]
    assert arrays(series).at.tolist() == [9_000_000, 9_000_000]
    assert batch.last_step == 41


def test_rows_about_the_machine_are_named_as_ours_are() -> None:
    line = '{"system.cpu": 5.5, "_wandb": true, "_timestamp": 10, "_runtime": 1}'
    (series,) = history.read_events([line], 3, 0)
    assert (series.name, arrays(series).steps.tolist()) == ("system/cpu", [3])
    (row,) = history.event_rows({"system/cpu": arrays(series)}, 9)
    assert row == {"_wandb": True, "_runtime": 1, "_timestamp": 10, "system.cpu": 5.5}


@pytest.mark.parametrize("line", ["", "nonsense", "[1]", "3", '{"a": 1'])
def test_what_is_no_row_is_refused_by_its_number(line: str) -> None:
    with pytest.raises(Invalid, match="row 8 of the history"):
        history.read(['{"a": 1}', line], 7, 0)


def test_params_are_scalars_by_dotted_name() -> None:
    told = history.leaves({"a": {"b": 1, "c": [1, 2]}, "d": math.inf, "e": None, "f": {}})
    assert told == {"a.b": 1, "a.c": "[1,2]", "d": "inf", "e": None, "f": "{}"}
