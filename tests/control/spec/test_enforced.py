"""What a spec may say and nothing does yet is said aloud."""

import pytest
from tests.control.spec.examples import SMALLEST

from setpoint.control.spec.enforced import NOT_YET, in_words, unenforced
from setpoint.control.spec.explain import explain
from setpoint.control.spec.parse import parse


def test_a_spec_that_sets_none_of_them_hears_nothing() -> None:
    assert unenforced(parse(SMALLEST)) == []


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("privacy: {subject: person}", "privacy.subject"),
    ],
)
def test_each_key_that_nothing_enforces_is_told(text: str, key: str) -> None:
    assert unenforced(parse(f"{SMALLEST}\n{text}\n")) == [key]
    assert in_words(key).startswith(f"declared, not enforced yet: {key} ")


def test_all_of_them_are_keys_of_the_spec() -> None:
    known = {row.path for row in explain(parse(SMALLEST))}
    assert known.issuperset(NOT_YET)
