"""Who is mentioned in a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.comments.rules import mentioned


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("@ada, look: (@bob.smith) agrees, and so does @ada.", ["ada", "bob.smith"]),
        ("write to ada@example.com or ops+x@example.com", []),
        ("the decorator `@property` and\n```\n@cached\n```\n, @eve-2", ["eve-2"]),
        ("@größe @@nobody @ none", ["größe"]),
        ("```\n@never closed", []),
    ],
)
def test_names_follow_an_at_sign_outside_of_words_and_code(text: str, names: list[str]) -> None:
    assert mentioned(text) == names


@given(st.lists(st.from_regex(r"\A[a-z][a-z0-9]{0,8}\Z"), max_size=6), st.text("a .,!?-\n"))
def test_every_name_is_found_once_in_order(names: list[str], between: str) -> None:
    text = "".join(f" {between} @{name}" for name in names)
    assert mentioned(text) == list(dict.fromkeys(names))
