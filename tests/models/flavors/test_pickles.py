"""What pickles are read with: whole, in turns with other threads, and one error for bad bytes."""

import gc
import pickle
import sys
import threading
from time import perf_counter_ns
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.errors import Invalid
from setpoint.models.flavors import pickles

VALUES = st.recursive(
    st.none() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(max_size=2_000),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES, st.sampled_from(range(pickle.HIGHEST_PROTOCOL + 1)))
def test_every_protocol_is_read_as_it_was_written(value: Any, protocol: int) -> None:
    assert pickles.load(pickle.dumps(value, protocol)) == value


@given(VALUES, st.data())
def test_a_pickle_that_ends_too_early_is_one_error(value: Any, data: st.DataObject) -> None:
    whole = pickles.dump(value)
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(Invalid, match="cannot be loaded"):
        pickles.load(part)


def test_other_threads_have_their_turn_while_a_large_model_is_read() -> None:
    held = {str(number): [number, number / 7] for number in range(200_000)}  # all of it is C's
    data = pickles.dump(held)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    gc.disable()  # what listens to it is Python, and gives turns, too
    over = threading.Event()
    ran: list[int] = []

    def others() -> None:
        while not over.is_set():
            ran.append(perf_counter_ns())

    thread = threading.Thread(target=others)
    thread.start()
    try:
        begun = perf_counter_ns()
        read = pickles.load(data)
        ended = perf_counter_ns()
    finally:
        over.set()
        thread.join()
        gc.enable()
        sys.setswitchinterval(before)
    meanwhile = {(at - begun) * 10 // (ended - begun) for at in ran if begun < at < ended}
    assert len(meanwhile) > 3, "of ten parts of that time only the ends saw the other thread"
    assert read == held
