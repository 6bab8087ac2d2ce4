import pytest

from setpoint.errors import Invalid
from setpoint.server.ui.blocks import Block, parse, written


def test_a_block_says_one_thing_a_line() -> None:
    text = "metrics: loss, acc\nruns: a, b\n\nx: relative\nsmooth: 0.5\nlog: xy\nlimit: 3\n"
    assert parse("chart", text) == Block(
        metrics=["loss", "acc"], runs=["a", "b"], x="relative", smooth=0.5, log="xy", limit=3
    )


def test_a_filter_may_hold_what_separates_lines_of_a_block() -> None:
    found = parse("runs", "filter: tags.at = '10:30, noon'")
    assert found.filter == "tags.at = '10:30, noon'"


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("chart", "metrics: a\nmetrc: b", "line 2"),
        ("chart", "no sign", "line 1"),
        ("chart", "runs: a", "needs metrics"),
        ("chart", "metric: a\nlimit: many", "cannot be read"),
        ("chart", "metric: a\nx: sideways", "step, time or relative"),
        ("chart", "metric: a\nsmooth: 1", "below 1"),
        ("runs", "metrics: a", "columns"),
    ],
)
def test_what_a_block_cannot_say_is_told_with_its_place(kind: str, text: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(kind, text)
    assert said in str(caught.value)


def test_a_chart_that_is_written_can_be_read() -> None:
    kind, _, text = written(["loss"], ["a", "b"]).strip("`\n").partition("\n")
    assert parse(kind, text) == Block(metrics=["loss"], runs=["a", "b"])
