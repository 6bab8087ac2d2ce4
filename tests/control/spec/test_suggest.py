"""The nearest name is offered when there is one."""

import pytest

from setpoint.control.spec.suggest import did_you_mean, nearest


@pytest.mark.parametrize(
    ("name", "found"),
    [("lable", "label"), ("TIME", "time"), ("alarm-budget", "alarm_budget"), ("zz", None)],
)
def test_the_nearest_name_is_found_whatever_its_case_or_dashes(
    name: str, found: str | None
) -> None:
    assert nearest(name, ["label", "time", "alarm_budget"]) == found


def test_long_lists_are_cut() -> None:
    hint = did_you_mean("n3", [f"n{i}" for i in range(40)])
    assert hint.endswith(", …")
    assert did_you_mean("x", []) == ""
