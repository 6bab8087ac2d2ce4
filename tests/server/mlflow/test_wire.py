"""Proto JSON as clients of all languages send it."""

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import field
from starlette.datastructures import QueryParams

from setpoint.server.mlflow import wire
from setpoint.server.mlflow.errors import Refused


class Inner(wire.Message, frozen=True, kw_only=True):
    max_value: int = 0
    value: float


class Message(wire.Message, frozen=True, kw_only=True):
    run_id: str = ""
    at: int | None = None
    deep: list[Inner] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    allow: bool = False


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b"", Message()),
        (b"{}", Message()),
        (b'{"at": "12"}', Message(at=12)),
        (b'{"at": 12, "unknown": {"a": 1}}', Message(at=12)),
        (b'{"runId": "r", "at": null}', Message(run_id="r")),
        (
            b'{"deep": [{"maxValue": "3", "value": "Infinity"}]}',
            Message(deep=[Inner(max_value=3, value=math.inf)]),
        ),
        (
            b'{"deep": [{"value": 1}], "tags": {"camelCase": "a"}}',
            Message(deep=[Inner(value=1)], tags={"camelCase": "a"}),
        ),
        (
            b'{"runId": "r", "tags": {"camelCase": "a"}}',
            Message(run_id="r", tags={"camelCase": "a"}),
        ),
        (b'"{\\"run_id\\": \\"twice encoded\\"}"', Message(run_id="twice encoded")),
        ('{"run_id": "ü🦊"}'.encode(), Message(run_id="ü🦊")),
    ],
)
def test_a_message_is_read_however_it_is_spelled(body: bytes, wanted: Message) -> None:
    assert wire.decode(body, Message) == wanted


@pytest.mark.parametrize("body", [b'{"deep": [{"value": NaN}]}', b'{"deep": [{"value": "NaN"}]}'])
def test_nan_is_read_as_a_word_and_as_python_writes_it(body: bytes) -> None:
    assert math.isnan(wire.decode(body, Message).deep[0].value)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            b'{"at": "soon"}',
            """value "soon" for parameter 'at' supplied:  Hint: Value was of type 'str'.""",
        ),
        (
            b'{"deep": [{"value": 1}, {"value": true}]}',
            "'deep[1].value' supplied:  Hint: Value was of type 'bool'.",
        ),
        (b'{"deep": [{}]}', "Missing value for required parameter 'deep[0].value'."),
        (b'{"deep": [{"value": null}]}', "Missing value for required parameter 'deep[0].value'."),
        (b'{"run_id": 3}', "parameter 'run_id' supplied"),
        (b"[1]", "not a JSON object"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(body: bytes, text: str) -> None:
    with pytest.raises(Refused) as caught:
        wire.decode(body, Message)
    assert text in caught.value.message


def test_a_query_is_a_message_too() -> None:
    query = QueryParams("run_id=a&at=3&allow=true&other=1&deep=")
    assert wire.from_query(QueryParams("runId=b"), Message).run_id == "b"
    with pytest.raises(Refused, match="deep"):
        wire.from_query(query, Message)
    found = wire.from_query(QueryParams("run_id=a&at=3&allow=true&other=1"), Message)
    assert found == Message(run_id="a", at=3, allow=True)


@given(st.floats())
def test_every_number_survives(value: float) -> None:
    body = wire.answer({"value": wire.number(value)}).body
    found = wire.decode(bytes(body), Inner).value
    assert found == value or (math.isnan(found) and math.isnan(value))


anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["deep", "at"]), inner)
    ),
)


@given(anything)
def test_whatever_is_sent_is_read_or_refused(value: Any) -> None:
    with contextlib.suppress(Refused):
        wire.decode(json.dumps(value).encode(), Message)
