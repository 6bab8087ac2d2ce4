"""Bodies of megabytes are read elsewhere: answered as others are, and nobody waits for them."""

import asyncio
import json
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.serve.conftest import Served
from tests.serve.made import Input, Sum, live

from setpoint.errors import Invalid, SetpointError
from setpoint.serve.entities import EndpointSettings
from setpoint.serve.rest import aside
from setpoint.serve.rest.aside import LARGE_BYTES, Reader

sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ROWS = [[i + 0.25, i / 7] for i in range(40_000)]
IDS = [f"row-{i}" for i in range(len(ROWS))]
TENSOR = {"name": "x", "datatype": "FP64", "shape": [len(ROWS), 2]}
FLAT = [value for row in ROWS for value in row]
BODIES: list[tuple[str, dict[str, Any]]] = [
    ("/v2/models/m/infer", {"inputs": [{**TENSOR, "data": FLAT}], "id": "mine"}),
    ("/v1/models/m:predict", {"instances": ROWS}),
    ("/v1/models/m:predict", {"inputs": {"a": FLAT[::2], "b": FLAT[1::2]}}),
    ("/v1/models/m:regress", {"examples": [{"a": a, "b": b} for a, b in ROWS]}),
    ("/invocations", {"dataframe_split": {"columns": ["a", "b"], "data": ROWS}}),
    ("/endpoints/m/invocations", {"dataframe_records": [{"a": a, "b": b} for a, b in ROWS]}),
]


@pytest.fixture
def reader() -> Iterator[Reader]:
    found = Reader()
    yield found
    found.close()


@sqlite
@pytest.mark.parametrize(("path", "asked"), BODIES)
def test_a_large_body_is_answered_as_others_are(
    served: Served, path: str, asked: dict[str, Any]
) -> None:
    served.deploy(live())
    body = json.dumps({**asked, "parameters": {"ids": IDS}}).encode()
    assert len(body) > LARGE_BYTES
    status, found = served.ask("POST", path, body)
    assert status == 200, found
    expected = pytest.approx([a + b for a, b in ROWS])
    if "model_name" in found:
        assert (found["id"], found["parameters"]["ids"]) == ("mine", IDS)
        assert found["outputs"][0]["data"] == expected
    else:
        (answers,) = found.values()
        assert answers == expected
    served.sync()
    assert [name for record in served.logged() for name in record.ids] == IDS


@sqlite
@pytest.mark.parametrize(("path", "asked"), BODIES)
def test_what_is_wrong_with_a_large_body_is_said_as_of_others(
    served: Served, path: str, asked: dict[str, Any]
) -> None:
    served.deploy(live())
    wrong = json.dumps(asked).replace("39000.25", '"oops"').encode()
    status, found = served.ask("POST", path, wrong)
    assert status == 400
    said = found.get("error") or found["message"]
    assert "39000" in said or "78000" in said
    status, _ = served.ask("POST", path, wrong[:-1])
    assert status == 400


@sqlite
def test_nobody_waits_while_a_large_body_is_read(served: Served) -> None:
    served.predictors[1] = Sum(inputs=[Input("a"), Input("t", "BYTES")])
    served.deploy(live())
    large = json.dumps({"instances": [{"a": 1, "t": "x" * 4_000}] * 500}).encode()
    small = json.dumps({"instances": [{"a": 2, "t": "y"}]}).encode()
    done: list[str] = []

    async def ask(name: str, body: bytes) -> None:
        status, _, _ = await served._ask("POST", "/v1/models/m:predict", body, ())
        assert status == 200
        done.append(name)

    async def go() -> None:
        await asyncio.gather(ask("large", large), ask("small", small))

    served._runner.run(go())
    assert done == ["small", "large"]


def test_a_reader_that_ends_over_a_body_is_another_for_the_next(reader: Reader) -> None:
    assert reader.read(len, b"abc") == 3
    first = reader._process
    with pytest.raises(Invalid, match="cannot be read"):
        reader.read(os._exit, 3)
    assert reader.read(len, b"abcd") == 4
    assert reader._process is not first


def test_a_fault_of_ours_is_none_of_the_clients_and_is_logged(
    reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SetpointError, match="its log says why") as caught:
        reader.read(time.sleep, "this is no number")
    assert not isinstance(caught.value, Invalid)
    assert "TypeError" in caplog.records[0].trace  # type: ignore[attr-defined]
    first = reader._process
    assert reader.read(len, b"abcde") == 5
    assert reader._process is first


LARGE = json.dumps({"instances": ROWS}).encode()


@sqlite
def test_more_than_may_wait_to_be_read_is_refused_for_now(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aside, "_MOST_WAITING", 3 * len(LARGE))
    served.deploy(live())

    async def ask() -> tuple[int, dict[str, str]]:
        status, _, told = await served._ask("POST", "/v1/models/m:predict", LARGE, ())
        return status, told

    async def go() -> list[tuple[int, dict[str, str]]]:
        return await asyncio.gather(*(ask() for _ in range(6)))

    answers = served._runner.run(go())
    assert sorted(status for status, _ in answers) == [200] * 3 + [429] * 3
    assert all(told["retry-after"] == "1" for status, told in answers if status == 429)
    assert served._runner.run(ask())[0] == 200, "they are read by now"


@sqlite
def test_a_body_that_is_not_read_in_time_is_given_up(served: Served) -> None:
    served.deploy(live())
    served.configure(EndpointSettings(timeout=0.001))
    status, said = served.ask("POST", "/v1/models/m:predict", LARGE)
    assert (status, "not read in time" in said["error"]) == (504, True)


@sqlite
def test_what_only_large_bodies_had_to_say_is_read_aside_too(served: Served) -> None:
    served.deploy(live())
    status, said = served.ask("POST", "/v1/models/m:explain", LARGE)
    assert (status, "too many" in said["error"]) == (400, True)
    labels = json.dumps({"ids": IDS, "labels": [1] * len(IDS), "more": "x" * LARGE_BYTES}).encode()
    assert served.ask("POST", "/v2/models/m/labels", labels) == (200, {"accepted": len(IDS)})
