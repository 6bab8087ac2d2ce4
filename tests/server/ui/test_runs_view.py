from hypothesis import given
from hypothesis import strategies as st

from setpoint.runs.filters import Comparison, parse, parse_order
from setpoint.runs.store.search import RUNS
from setpoint.server.ui.pages.runs_view import RunsView, equals, read, spelled

#: Mostly what means something to the language of filters.
_CHARACTER = st.sampled_from("ab.'\"` =()%/\\") | st.characters(codec="utf-8")
_TEXT = st.text(_CHARACTER, min_size=1).filter(lambda text: text == text.strip())
_NAME = st.text(_CHARACTER, min_size=1).map(lambda text: text.replace("\0", "x"))
_COLUMN = st.builds("{}.{}".format, st.sampled_from(["metrics", "params", "tags"]), _NAME)


@given(
    view=st.builds(
        RunsView,
        experiment=st.text(),
        filter=_TEXT | st.just(""),
        order=_TEXT | st.just(""),
        columns=st.lists(_COLUMN, unique=True),
        group=st.text(),
        deleted=st.booleans(),
        metric=st.text(),
        pins=st.lists(_TEXT, unique=True),
        chosen=st.lists(_TEXT, unique=True),
        curves=st.sampled_from([[], [("x", "time"), ("log", "1")]]),
    )
)
def test_an_address_restores_the_view_it_was_made_of(view: RunsView) -> None:
    assert read(view.pairs()) == view


@given(column=_COLUMN.filter(lambda column: not column.startswith("metrics")), value=_TEXT)
def test_the_condition_of_a_group_says_what_its_column_is(column: str, value: str) -> None:
    found = parse(equals(column, value), RUNS)
    assert isinstance(found, Comparison)
    assert (f"{found.entity}.{found.key}", found.op, found.value) == (column, "=", value)
    missing = parse(equals(column, None), RUNS)
    assert isinstance(missing, Comparison)
    assert (missing.op, missing.negated) == ("NULL", False)


@given(column=_COLUMN)
def test_a_heading_orders_down_then_up_then_as_usual(column: str) -> None:
    view = RunsView()
    for wanted in ("DESC", "ASC", ""):
        query = view.sort_url(column).partition("?")[2]
        view = RunsView(order=f"{spelled(column)} {wanted}" if wanted else "")
        assert query == view.query
        assert view.sorted_by(column) == wanted
        if wanted:
            (order,) = parse_order([view.order], RUNS)
            assert f"{order.entity}.{order.key}" == column
            assert order.descending == (wanted == "DESC")


def test_what_an_address_repeats_or_leaves_empty_counts_once_or_not() -> None:
    pairs = [("run", "a"), ("run", "a"), ("run", ""), ("pin", "b"), ("pin", "c"), ("unpin", "b")]
    view = read([*pairs, ("q", "  "), ("view", "nonsense")])
    assert view == RunsView(chosen=["a"], pins=["c"])
