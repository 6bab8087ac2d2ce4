"""What people hand over is kept, whatever it is."""

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.sdk.values import INTEGERS, flat, step_of, value_of


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (1, 1),
        (True, True),
        (None, None),
        ("x", "x"),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.array([3]), 3),
        ([1, "a", None], '[1,"a",null]'),
        ({"b": 1, "a": (2,)}, '{"a":[2],"b":1}'),
        (2**70, str(2**70)),
        (np.zeros(3), "[0. 0. 0.]"),
        (int, "<class 'int'>"),
    ],
)
def test_a_param_is_kept_as_what_it_is_or_as_text(value: Any, kept: Any) -> None:
    found = value_of(value)
    assert found == kept
    assert type(found) is type(kept)


def test_a_list_that_holds_itself_is_kept_as_text() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert value_of(loop) == "[[...]]"


@given(st.recursive(st.none() | st.floats() | st.integers() | st.text(), st.lists))
def test_every_param_can_be_written(value: Any) -> None:
    msgspec.msgpack.encode(value_of(value))


def test_mappings_are_flattened() -> None:
    assert flat({"a": {"b": {"c": 1}}, 2: {}}, ".") == {"a.b.c": 1, "2": {}}


@pytest.mark.parametrize(
    ("step", "kept"),
    [
        (np.int32(5), 5),
        (2.0, 2),
        (2.7, 2),
        (math.nan, None),
        (math.inf, None),
        ("x", None),
        (None, None),
        (INTEGERS[-1] + 1, None),
        (INTEGERS[0], INTEGERS[0]),
    ],
)
def test_a_step_is_an_integer_of_64_bits(step: Any, kept: int | None) -> None:
    assert step_of(step) == kept
