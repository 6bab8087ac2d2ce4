"""What a data contract requires is in every row, or the request is refused, in any protocol."""

from typing import Any

import numpy as np
import pytest

from setpoint.serve import v2
from setpoint.serve.entities import EndpointSettings

from .conftest import Served
from .made import Input, Sum, live


@pytest.fixture
def asking(served: Served) -> Served:
    served.predictors[1] = Sum(inputs=[Input("a"), Input("b"), Input("city", "BYTES")])
    served.configure(EndpointSettings(required=("a", "city", "other")))
    served.deploy(live())
    return served


def rows(*given: list[Any]) -> dict[str, Any]:
    return {"instances": [dict(zip(("a", "b", "city"), row, strict=True)) for row in given]}


@pytest.mark.parametrize(
    ("row", "name"),
    [([None, 1.0, "x"], "a"), ([1.0, 1.0, None], "city"), ([None, None, None], "a")],
)
@pytest.mark.parametrize("path", ["/v1/models/m:predict", "/invocations"])
def test_a_row_without_what_is_required_is_refused(
    asking: Served, path: str, row: list[Any], name: str
) -> None:
    status, answer = asking.post(path, rows([1.0, 2.0, "x"], row))
    said = answer.get("error") or answer["message"]
    assert status == 400
    assert f"row 1 has no '{name}', which the data contract requires" in said
    assert asking.logged() == []


def test_what_is_not_required_may_be_missing(asking: Served) -> None:
    assert asking.post("/v1/models/m:predict", rows([1.0, None, "x"]))[0] == 200


@pytest.mark.parametrize("gap", [float("nan"), None])
def test_a_matrix_is_looked_at_too(served: Served, gap: float | None) -> None:
    served.configure(EndpointSettings(required=("b",)))
    served.deploy(live())
    data: list[list[float | None]] = [[1.0, 2.0], [3.0, gap]]
    assert served.post("/v1/models/m:predict", {"instances": data})[0] == 400
    assert served.infer(data)[0] == 400
    assert served.infer([[None, 2.0]])[0] == 200


def test_raw_numbers_are_looked_at_too(served: Served) -> None:
    served.configure(EndpointSettings(required=("b",)))
    served.deploy(live())
    for value, wanted in ((np.nan, 400), (1.0, 200)):
        raw = np.array([[1.0, value]]).tobytes()
        tensor = {"name": "x", "datatype": "FP64", "shape": [1, 2]}
        head = v2.encode({"inputs": [tensor | {"parameters": {"binary_data_size": len(raw)}}]})
        found = served.app.infer_now("m", head + raw, len(head))
        assert found is not None
        assert found.status == wanted
