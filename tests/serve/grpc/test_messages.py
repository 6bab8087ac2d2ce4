"""Messages declared in lines are those that generated code has."""

import pytest
from google.protobuf import struct_pb2, timestamp_pb2
from hypothesis import given
from hypothesis import strategies as st

from setpoint.serve.grpc.messages import declare

made = declare(
    "tests.messages",
    """
    Timestamp: int64 seconds=1; int32 nanos=2
    Value: double number_value=2; string string_value=3; bool bool_value=4
    Struct: Value> fields=1
    Texts: bytes* value=1; google.protobuf.DoubleValue one=2
    """,
)


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 10**9 - 1))
def test_numbers_are_the_same_on_the_wire(seconds: int, nanos: int) -> None:
    theirs = timestamp_pb2.Timestamp(seconds=seconds, nanos=nanos).SerializeToString()
    ours = made.Timestamp.FromString(theirs)
    assert (ours.seconds, ours.nanos) == (seconds, nanos)
    assert ours.SerializeToString() == theirs


@given(st.dictionaries(st.text(max_size=9), st.text(min_size=1, max_size=9), max_size=4))
def test_maps_and_messages_inside_are_the_same_on_the_wire(fields: dict[str, str]) -> None:
    theirs = struct_pb2.Struct()
    theirs.update(fields)
    ours = made.Struct.FromString(theirs.SerializeToString())
    assert {name: value.string_value for name, value in ours.fields.items()} == fields
    assert struct_pb2.Struct.FromString(ours.SerializeToString()) == theirs


def test_lists_and_others_messages() -> None:
    ours = made.Texts(value=[b"a", b""])
    ours.one.value = 0.5
    again = made.Texts.FromString(ours.SerializeToString())
    assert (list(again.value), again.one.value) == ([b"a", b""], 0.5)


def test_what_is_no_declaration_is_told() -> None:
    with pytest.raises(ValueError, match="no field"):
        declare("tests.wrong", "Point: double x")
