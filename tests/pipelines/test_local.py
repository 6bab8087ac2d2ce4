from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from setpoint.artifacts.store import open_store
from setpoint.db.local import LocalBackend
from setpoint.errors import Invalid
from setpoint.pipelines.graph import step
from setpoint.pipelines.local import StepRun, Workshop, run


def rows(count: int) -> pl.DataFrame:
    return pl.DataFrame({"x": range(count)})


def total(rows: pl.DataFrame) -> int:
    return int(rows["x"].sum())


def doubled(total: int) -> int:
    return total * 2


@pytest.fixture
def workshop(backend: LocalBackend) -> Workshop:
    return Workshop(
        engine=backend.engine, objects=open_store(backend.settings), clock=backend.clock
    )


def ran(steps: list[Any], given: dict[str, Any], workshop: Workshop) -> tuple[Any, list[str]]:
    told: list[StepRun] = []
    results = run(steps, given, workshop, told=told.append)
    return results, [item.step for item in told if not item.cached]


def test_steps_are_wired_by_their_parameter_names(workshop: Workshop) -> None:
    results, _ = ran([step(doubled), step(total), step(rows)], {"count": 4}, workshop)
    assert results["doubled"] == 12


def test_the_same_inputs_are_never_computed_twice(workshop: Workshop) -> None:
    steps = [step(rows), step(total), step(doubled)]
    _, first = ran(steps, {"count": 4}, workshop)
    _, second = ran(steps, {"count": 4}, workshop)
    _, other = ran(steps, {"count": 5}, workshop)
    assert (first, second, other) == (
        ["rows", "total", "doubled"],
        [],
        ["rows", "total", "doubled"],
    )


def test_a_run_that_died_goes_on_after_its_last_step(workshop: Workshop) -> None:
    def dies(total: int) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run([step(rows), step(total), step(dies, name="doubled")], {"count": 4}, workshop)
    results, made = ran([step(rows), step(total), step(doubled)], {"count": 4}, workshop)
    assert (results["doubled"], made) == (12, ["doubled"])


def test_other_code_makes_another_result(workshop: Workshop) -> None:
    ran([step(rows), step(total, code="a")], {"count": 4}, workshop)
    _, made = ran([step(rows), step(total, code="b")], {"count": 4}, workshop)
    assert made == ["total"]


def test_a_result_whose_bytes_are_gone_is_made_again(workshop: Workshop) -> None:
    ran([step(rows)], {"count": 4}, workshop)
    for address in list(workshop.objects.addresses()):
        workshop.objects.delete([address])
    results, made = ran([step(rows)], {"count": 4}, workshop)
    assert (results["rows"].height, made) == (4, ["rows"])


def wants(nothing_such: int) -> int:
    return nothing_such


def loop_a(loop_b: int) -> int:
    return loop_b


def loop_b(loop_a: int) -> int:
    return loop_a


@pytest.mark.parametrize(
    ("functions", "says"),
    [
        ([rows, wants], "asks for 'nothing_such'"),
        ([rows, rows], "two steps are named 'rows'"),
        ([loop_a, loop_b], "form a cycle"),
    ],
)
def test_steps_that_do_not_fit_are_refused(
    functions: list[Callable[..., Any]], says: str, workshop: Workshop
) -> None:
    with pytest.raises(Invalid, match=says):
        run([step(f) for f in functions], {"count": 1}, workshop)


def test_what_cannot_be_stored_says_so(workshop: Workshop) -> None:
    def opened() -> Any:
        return lambda: None

    with pytest.raises(Invalid, match="cannot be stored"):
        run([step(opened)], {}, workshop)
