"""The language of filters: what it reads, and how it says what it cannot."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.errors import Invalid
from setpoint.runs.filters import All, Comparison, Either, Language, No, parse, parse_order
from setpoint.runs.store.search import RUNS
from setpoint.runs.store.search_experiments import EXPERIMENTS


def test_and_binds_before_or_and_parentheses_before_both() -> None:
    said = parse("metrics.a > 1 OR metrics.b > 2 AND NOT (metrics.c < 3 or tags.d = 'x')", RUNS)
    assert isinstance(said, Either)
    first, second = said.parts
    assert isinstance(first, Comparison)
    assert isinstance(second, All)
    assert isinstance(second.parts[1], No)


def test_every_spelling_of_a_name_is_the_same() -> None:
    for name in ("run_name", "`run name`", "attributes.run_name", 'attr."Run Name"', "run.name"):
        said = parse(f"{name} = 'x'", RUNS)
        assert isinstance(said, Comparison)
        assert (said.entity, said.key, said.value) == ("attribute", "run_name", "x")
    (order,) = parse_order(["metric.`a b` desc"], RUNS)
    assert (order.entity, order.key, order.descending) == ("metrics", "a b", True)


@pytest.mark.parametrize(
    ("said", "message", "where", "hint"),
    [
        ("metrics.a == 3", "compared by '=='", "character 11", "write ="),
        ("metrics.a > 'x'", "a number was expected", "character 13", "without quotes"),
        ("loss > 3", "no attribute 'loss'", "character 1:", "metrics.loss"),
        ("stats = 'x'", "no attribute 'stats'", "character 1:", "did you mean status?"),
        ("metrics.a > 1 metrics.b > 1", "was not expected", "character 15", "AND or OR"),
        ("params.x = 'abc", "cannot be read", "character 12", "not closed"),
        ("(metrics.a > 1", "is not closed", "character", "add a )"),
        ("param.x = abc", "a quoted text was expected", "character 11", "quote it: 'abc'"),
        ("metric.a >", "a number is missing", "the end", "e.g."),
        ("metrik.a > 1", "has no 'metrik'", "character 1", "did you mean metric?"),
        ("dataset.nme = 'x'", "has no 'nme'", "character 1", "did you mean name?"),
        ("start_time > 'soon'", "'soon' is no time", "character 14", "2026-01-31"),
        ("NOT " * 200 + "metrics.a > 1", "nested too deeply", "character", "levels"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_a_guess(
    said: str, message: str, where: str, hint: str
) -> None:
    with pytest.raises(Invalid) as caught:
        parse(said, RUNS)
    assert message in caught.value.message
    assert where in caught.value.where
    assert hint in caught.value.hint


WORDS = "metrics.a tags. `x_y` 't' 1e3 - > = ( ) , AND OR NOT IN IS NULL LIKE status é ."
pieces = st.lists(st.sampled_from(WORDS.split()) | st.text(max_size=3), max_size=12)


@given(pieces, st.sampled_from([RUNS, EXPERIMENTS]), st.sampled_from(["", " "]))
def test_nothing_written_breaks_the_reader(
    said: list[str], language: Language, between: str
) -> None:
    text = between.join(said)
    with contextlib.suppress(Invalid):
        parse(text, language)
    with contextlib.suppress(Invalid):
        parse_order([text], language)
