"""The port's own description: every address in it is answered, as it says."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.serve.conftest import Served
from tests.serve.made import Input, Sum, live

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

#: What is refused by design, or needs what this server has not: a background, classes, a folder.
REFUSED = {"unload", "delete /models/{model}", "post /models", "explain", "classify", "jobs"}


def document(served: Served) -> Any:
    status, found = served.get("/openapi.json")
    assert status == 200
    return found


def body_for(path: str, operation: Any) -> bytes:
    media = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    if "examples" in media:
        return json.dumps(media["examples"]["m"]["value"]).encode()
    known: dict[str, Any] = {
        "labels": {"ids": ["a"], "labels": [1]},
        "predict": {"instances": [{"a": 1, "city": "Zürich"}]},
        "invo": {"inputs": {"a": [1], "city": ["Zürich"]}},
        "regress": {"examples": [{"a": 1, "city": "x"}]},
    }
    return json.dumps(next((v for k, v in known.items() if k in path), {})).encode()


def test_every_address_is_answered_as_it_says(served: Served) -> None:
    served.predictors[1] = Sum(inputs=[Input("a"), Input("city", "BYTES")])
    served.deploy(live())
    found = document(served)
    count = 0
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            where = path.format(model="m", version="1", job="job_1")
            body = body_for(path, operation) if method == "post" else b""
            status, raw, headers = served.exchange(method.upper(), where, body)
            said = f"{method} {path}: {status} {raw[:200]!r}"
            assert b"nothing answers" not in raw, said
            if not any(word in f"{method} {path}" for word in REFUSED):
                assert status == 200, said
            answers = operation["responses"]
            answer = answers.get(str(status)) or answers[f"{status // 100}XX"]
            media = answer["content"][headers["content-type"].partition(";")[0]]
            if headers["content-type"] == "application/json":
                schema = media["schema"] | {"components": found["components"]}
                Draft202012Validator(schema).validate(json.loads(raw))
            count += 1
    assert count > 40


def test_models_are_named_with_a_request_that_fits_them(served: Served) -> None:
    served.predictors[1] = Sum(inputs=[Input("a"), Input("city", "BYTES")])
    served.deploy(live())
    infer = document(served)["paths"]["/v2/models/{model}/infer"]["post"]
    assert infer["parameters"][0]["schema"]["enum"] == ["m"]
    media = infer["requestBody"]["content"]["application/json"]
    assert served.post("/v2/models/m/infer", media["examples"]["m"]["value"])[0] == 200


def test_a_server_without_models_describes_itself_too(served: Served) -> None:
    found = document(served)
    assert found["openapi"] == "3.1.0"
    assert "no model" in found["info"]["description"]


def test_requests_are_valid_by_the_documents_own_schemas(served: Served) -> None:
    served.deploy(live())
    found = document(served)
    for schema in found["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    schema = {"$ref": "#/components/schemas/InferRequest", "components": found["components"]}
    check = Draft202012Validator(schema)
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [[1, 2]]}
    assert check.is_valid({"inputs": [tensor]})
    assert not check.is_valid({"inputs": [tensor | {"datatype": "FP99"}]})
    assert not check.is_valid({"inputs": [tensor | {"shape": [-1, 2]}]})
