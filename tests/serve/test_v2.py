import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.errors import Invalid
from setpoint.serve import v2
from setpoint.serve.tensors import rows as rows_of
from setpoint.serve.v2 import Inputs, InputSpec

TWO = Inputs([InputSpec("a", text=False), InputSpec("b", text=False)])
MIXED = Inputs([InputSpec("a", text=False), InputSpec("city", text=True)])


def tensor(name: str, data: Any, shape: list[int] | None = None, datatype: str = "FP64") -> Any:
    return {"name": name, "shape": shape or [len(data)], "datatype": datatype, "data": data}


def rows(*tensors: Any, inputs: Inputs = TWO, **more: Any) -> v2.Rows:
    body = json.dumps({"inputs": tensors, **more}).encode()
    return rows_of(v2.infer_request(body), inputs)


def test_columns_come_in_any_order_flat_or_nested() -> None:
    found = rows(tensor("b", [[3.0], [4.0]], [2, 1]), tensor("a", [1, 2], datatype="INT64"))
    assert found.values.tolist() == [[1, 3], [2, 4]]


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]]])
def test_one_matrix_has_the_inputs_as_columns(data: list[Any]) -> None:
    assert rows(tensor("x", data, [2, 2])).values.tolist() == [[1, 2], [3, 4]]


def test_null_is_a_missing_value() -> None:
    assert math.isnan(rows(tensor("x", [1.5, None], [1, 2])).values[0, 1])


def test_text_goes_beside_the_numbers() -> None:
    found = rows(
        tensor("city", ["Zürich", None], datatype="BYTES"),
        tensor("a", [True, False], datatype="BOOL"),
        inputs=MIXED,
    )
    assert found.values.tolist() == [[1], [0]]
    assert found.texts == {"city": ["Zürich", None]}


def test_an_input_that_only_a_canary_takes_may_be_absent() -> None:
    inputs = Inputs([*TWO.specs, InputSpec("new", text=False, required=False)])
    columns = rows(tensor("a", [1]), tensor("b", [2]), inputs=inputs)
    matrix = rows(tensor("x", [1, 2], [1, 2]), inputs=inputs)
    for found in (columns, matrix):
        assert found.absent == {"new"}
        np.testing.assert_array_equal(found.values, [[1, 2, np.nan]])


@pytest.mark.parametrize("datatype", [tag for tag in v2.DATATYPES if tag not in {"BYTES", "BOOL"}])
def test_every_numeric_datatype_is_read(datatype: str) -> None:
    assert rows(tensor("x", [1, 2], [1, 2], datatype)).values.tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ([], "missing input 'a', 'b'"),
        ([tensor("a", [1])], "missing input 'b'"),
        ([tensor("a", [1]), tensor("b", [1]), tensor("c", [1])], "unknown input 'c'"),
        ([tensor("a", [1]), tensor("a", [1]), tensor("b", [1])], "given twice"),
        ([tensor("a", [1, 2]), tensor("b", [1])], "differ in their number of rows"),
        ([tensor("x", [1, 2, 3], [1, 3])], "has 3 columns, the model takes 2"),
        ([tensor("x", [1, 2, 3], [2, 2])], "do not fill the shape"),
        ([tensor("x", [[1, 2], [3]], [2, 2])], "do not fill the shape"),
        ([tensor("x", [1, 2], [-1, 2])], "do not fill the shape"),
        ([tensor("x", [[1], [2]], [1, 2])], "do not fill the shape"),
        ([tensor("a", [1, 2], [1, 2]), tensor("b", [1])], r"has the shape \[1, 2\]"),
        ([tensor("a", [1], [1, 1, 1]), tensor("b", [1])], r"has the shape \[1, 1, 1\]"),
        ([tensor("a", [300], datatype="UINT8"), tensor("b", [1])], "does not fit UINT8"),
        ([tensor("a", ["1"], datatype="BYTES"), tensor("b", [1])], "is numeric, not BYTES"),
        ([tensor("a", ["1"]), tensor("b", [1])], r"got `str`\n.*inputs\[0\]\.data\[0\]"),
        ([tensor("a", [True]), tensor("b", [1])], "got `bool`"),
        ([tensor("a", [1.5], datatype="INT8"), tensor("b", [1])], "got `float`"),
        ([tensor("a", [1], datatype="FP99"), tensor("b", [1])], "FP99"),
        ([{"name": "a", "datatype": "FP64", "data": [1]}], "missing required field `shape`"),
    ],
)
def test_a_wrong_request_says_what_where_and_what_to_do(tensors: list[Any], says: str) -> None:
    with pytest.raises(Invalid, match=says) as caught:
        rows(*tensors)
    assert caught.value.where


def test_text_must_be_text() -> None:
    with pytest.raises(Invalid, match="is text, not FP64"):
        rows(tensor("city", [1.0]), tensor("a", [1]), inputs=MIXED)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'{"id": "\\ud800"}', b"[]", b"null", b"1e999"]
)
def test_a_body_that_is_no_request_is_invalid(body: bytes) -> None:
    with pytest.raises(Invalid):
        v2.infer_request(body)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_body_is_anything_but_a_request_or_invalid(body: bytes) -> None:
    for read in (v2.infer_request, v2.label_request):
        try:
            read(body)
        except Invalid:
            continue


@pytest.mark.parametrize("ids", [["a", "a"], [""], ["x" * 300], ["a\0b"]])
def test_ids_that_cannot_be_told_apart_or_kept_are_refused(ids: list[str]) -> None:
    with pytest.raises(Invalid):
        v2.check_ids(ids, "$.parameters.ids", unique=True)


def test_labels_come_one_an_id() -> None:
    with pytest.raises(Invalid, match="2 ids but 1 labels"):
        v2.label_request(b'{"ids": ["a", "b"], "labels": [1]}')
    assert v2.label_request(b'{"ids": ["a"], "labels": [true]}').labels == [True]


def test_bytes_that_are_no_text_are_refused_where_a_text_is_taken() -> None:
    city = v2.Texts("city", [1], [])
    city.data.append(b"\xff")  # type: ignore[arg-type] # as binary tensors bring them
    number = v2.TENSORS[0]("a", [1], [1.0])  # type: ignore[call-arg]
    with pytest.raises(Invalid, match="UTF-8"):
        rows_of(v2.InferRequest([number, city]), MIXED)
