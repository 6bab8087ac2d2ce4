"""MLflow's scoring server and SageMaker's contract: one model at one address, or named."""

import io
import json
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
from tests.serve.conftest import Served
from tests.serve.made import Input, Raises, Sum, canary, live

from setpoint.serve.entities import EndpointSettings
from setpoint.serve.http import headers_of

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

JSON = (b"content-type", b"application/json; charset=utf-8")


@pytest.fixture
def m(served: Served) -> Served:
    served.deploy(live())
    return served


@pytest.fixture
def mixed(served: Served) -> Served:
    """A model with a text among its inputs."""
    served.predictors[1] = Sum(inputs=[Input("a"), Input("t", "BYTES"), Input("b")])
    served.deploy(live())
    return served


def invoke(served: Served, body: Any, kind: bytes = b"application/json", **more: str) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = [(b"content-type", kind)]
    headers += [(name.replace("_", "-").encode(), value.encode()) for name, value in more.items()]
    status, answer, told = served.exchange("POST", "/invocations", raw, headers)
    return status, answer.decode(), told


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["b", "a"], "data": [[2, 1], [4, 3]]}},
        {"dataframe_split": {"index": [7, 8], "columns": ["a", "b"], "data": [[1, 2], [3, 4]]}},
        {"dataframe_records": [{"a": 1, "b": 2}, {"b": 4, "a": 3}]},
        {"instances": [[1, 2], [3, 4]]},
        {"instances": [{"a": 1, "b": 2}, {"a": 3, "b": 4}], "params": {"x": 1}},
        {"inputs": {"a": [1, 3], "b": [2, 4]}},
        {"inputs": [[1, 2], [3, 4]]},
        {"instances": {"a": [1, 3], "b": [2, 4]}},
        {"dataframe_split": {"columns": ["b", "more", "a"], "data": [[2, 9, 1], [4, "x", 3]]}},
        {"dataframe_records": [{"a": 1, "more": 9, "b": 2}, {"b": 4, "a": 3}]},
        {"dataframe_records": [{"a": 1, "b": 2}, {"b": 4, "q": 1, "a": 3, "r": None}]},
    ],
)
def test_every_form_of_mlflow_is_read(m: Served, body: Any) -> None:
    status, answer, told = invoke(m, body)
    assert (status, json.loads(answer)) == (200, {"predictions": [3.0, 7.0]})
    assert told["setpoint-model-version"] == "1"
    assert len(told["setpoint-prediction-id"].split(",")) == 2


def test_nan_as_pandas_writes_it_is_a_missing_value(mixed: Served) -> None:
    body = b'{"dataframe_records": [{"a": NaN, "t": "ab", "b": 1}, {"a": 1, "t": NaN, "b": 1}]}'
    status, answer, _ = invoke(mixed, body)
    assert (status, json.loads(answer)) == (200, {"predictions": [None, 2.0]})
    for broken in (b'{"instances": [[NaN, 1]}', b'{"instances": "NaN"', b'{"inputs": NaN'):
        assert invoke(mixed, broken)[0] == 400


def test_tables_as_csv_lines_of_json_and_parquet(mixed: Served) -> None:
    frame = pl.DataFrame({"t": ["ab", None], "a": [1.0, 2.0], "b": [3.0, None], "more": [1, 1]})
    parquet = io.BytesIO()
    frame.write_parquet(parquet)
    for body, kind in (
        (b"t,b,a\nab,3,1\n,,2\n", b"text/csv"),
        (b"1,ab,3\r\n2,,\r\n", b"text/csv"),  # without a line of names: SageMaker's
        (b'{"a":1,"t":"ab","b":3}\n{"a":2,"t":null,"b":null}', b"application/jsonlines"),
        (b'{"features":[1,"ab",3]}\n{"features":[2,null,null]}', b"application/jsonlines"),
        (parquet.getvalue(), b"application/x-parquet"),
    ):
        status, answer, _ = invoke(mixed, body, kind)
        assert (status, json.loads(answer)) == (200, {"predictions": [6.0, None]})


def test_the_answer_comes_in_the_format_that_is_asked_for(m: Served) -> None:
    asked = {"instances": [[1, 2], [None, 2]]}
    _, answer, told = invoke(m, asked, accept="text/csv")
    assert (answer, told["content-type"]) == ("3.0\n\n", "text/csv")
    _, answer, _ = invoke(m, asked, accept="application/jsonlines")
    assert answer == '{"score":3.0}\n{"score":null}\n'
    _, answer, _ = invoke(m, asked, accept="*/*")
    assert json.loads(answer) == {"predictions": [3.0, None]}


def test_health_and_version(m: Served) -> None:
    for path in ("/ping", "/health"):
        assert m.get(path)[0] == 200
        assert m.ask("HEAD", path)[0] == 200
    assert m.get("/version") == (200, "0.1.0")
    assert m.get("/invocations")[0] == 405
    m.endpoints.problem = "the database cannot be read"
    assert m.get("/ping")[0] == 503


def test_sagemakers_ids_sessions_variants_and_attributes(served: Served) -> None:
    served.deploy(live(1), canary(2, weight=0.5))
    more = {"x_amzn_sagemaker_inference_id": "i-7", "x_amzn_sagemaker_custom_attributes": "k=v"}
    _, answer, told = invoke(
        served, b"1,2", b"text/csv", x_amzn_sagemaker_target_variant="2", **more
    )
    assert json.loads(answer) == {"predictions": [30.0]}
    assert told["x-amzn-invoked-production-variant"] == "2"
    assert told["x-amzn-sagemaker-custom-attributes"] == "k=v"
    assert served.logged()[0].ids == ["i-7"]
    _, _, told = invoke(served, b"1,2", b"text/csv", x_amzn_sagemaker_target_variant="live")
    assert told["x-amzn-invoked-production-variant"] == "1"
    versions = set()
    for _ in range(20):  # one session stays with one version
        _, _, told = invoke(served, b"1,2", b"text/csv", x_amzn_sagemaker_session_id="s")
        versions.add(told["x-amzn-invoked-production-variant"])
    assert len(versions) == 1
    assert invoke(served, b"1,2", b"text/csv", x_amzn_sagemaker_target_variant="9")[0] == 404
    assert invoke(served, b"1,2", b"text/csv", x_amzn_sagemaker_target_variant="odd")[0] == 404


def test_models_by_name_as_containers_of_many_have_them(m: Served) -> None:
    listed = {"modelName": "m", "modelUrl": "models:/m@live"}
    assert m.get("/models") == (200, {"models": [listed]})
    assert m.get("/models/m") == (200, listed)
    body = b'{"instances": [[1, 2]]}'
    for path in ("/models/m/invoke", "/models/m/invocations", "/endpoints/m/invocations"):
        assert m.ask("POST", path, body, [JSON]) == (200, {"predictions": [3.0]})
    assert m.get("/models/m/ping")[0] == 200
    assert m.get("/models/other/ping")[0] == 404
    assert m.ask("POST", "/models", b'{"model_name": "m", "url": "/x"}')[0] == 409
    assert m.ask("POST", "/models", b'{"model_name": "n", "url": "/x"}')[0] == 404
    assert m.ask("DELETE", "/models/m")[0] == 403
    status, answer, told = m.exchange("POST", "/endpoints/other/invocations", body, [JSON])
    assert (status, told["x-amzn-errortype"]) == (404, "ValidationError")
    assert "other" in json.loads(answer)["message"]


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        ({}, b"application/json", "none of them"),
        ({"instances": [[1, 2]], "inputs": [[1, 2]]}, b"application/json", "instances and inputs"),
        ({"dataframe_split": {"columns": ["a", "b"], "data": [[1]]}}, b"", "row 0 has 1 values"),
        ({"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}, b"", "twice"),
        ({"dataframe_split": {"data": []}}, b"", "columns"),
        ({"dataframe_records": [{"a": 1}]}, b"", "missing input 'b'"),
        (b"", b"text/csv", "empty"),
        (b"a,b\n1\n", b"text/csv", "line 2"),
        (b"1,x\n", b"text/csv", "row 0 is a text"),
        (b'"1,2\n', b"text/csv", "no CSV"),
        (b"\xff\xfe", b"text/csv", "no CSV"),
        (b"{", b"application/jsonlines", "JSON"),
        (b"PAR1", b"application/x-parquet", "no Parquet"),
        (b"{}", b"application/x-protobuf", "content type"),
        (b"{", b"application/json", "not JSON"),
    ],
)
def test_what_does_not_fit_is_refused_in_mlflows_shape(
    m: Served, body: Any, kind: bytes, said: str
) -> None:
    status, answer, _ = invoke(m, body, kind)
    told = json.loads(answer)
    assert (status, told["error_code"]) == (415 if said == "content type" else 400, "BAD_REQUEST")
    assert said in told["message"]
    assert m.logged() == []


def test_without_a_model_one_is_told_so(served: Served) -> None:
    served.endpoints.refresh()
    status, answer, _ = invoke(served, {"instances": [[1, 2]]})
    assert status == 400
    assert "none is served yet" in answer


@pytest.mark.parametrize("path", ["/invocations", "/v1/models/m:predict"])
def test_headers_stay_short_however_many_rows_there_are(m: Served, path: str) -> None:
    body = json.dumps({"instances": [[1, 2]] * 5_000}).encode()
    status, raw, headers = m.exchange("POST", path, body, [(b"content-type", b"application/json")])
    assert (status, len(json.loads(raw)["predictions"])) == (200, 5_000)
    first, dots, last = headers["setpoint-prediction-id"].split(",")
    assert (dots, last) == ("...", first.removesuffix(".0") + ".4999")
    assert max(map(len, headers.values())) < 4_000


@pytest.mark.parametrize("path", ["/invocations", "/v1/models/m:predict"])
def test_an_answer_of_the_fallback_is_marked(served: Served, path: str) -> None:
    served.predictors[1] = Raises()
    served.configure(EndpointSettings(fallback_value=0.3))
    served.deploy(live())
    body = json.dumps({"instances": [[1, 2]]}).encode()
    status, raw, headers = served.exchange(
        "POST", path, body, [(b"content-type", b"application/json")]
    )
    assert (status, json.loads(raw)) == (200, {"predictions": [0.3]})
    assert headers["setpoint-fallback"] == "true"


def test_a_row_may_be_values_alone_and_csv_have_other_columns_and_gaps(m: Served) -> None:
    status, answer, _ = invoke(m, {"inputs": {"a": 1, "b": 2.5}})
    assert (status, json.loads(answer)) == (200, {"predictions": [3.5]})
    csv = b"b,id,a\n2,x-1,1\nNA,x-2,1\nnull,x-3,1\n"
    status, answer, _ = invoke(m, csv, b"text/csv")
    assert (status, json.loads(answer)) == (200, {"predictions": [3.0, None, None]})
    status, answer, _ = invoke(m, {"dataframe_records": [{"c": 1}]})
    assert (status, "input" in answer) == (400, True)


def test_a_text_of_csv_is_what_stands_there(mixed: Served) -> None:
    _, answer, _ = invoke(mixed, b"a,t,b\n1,NA,1\n", b"text/csv")
    assert json.loads(answer) == {"predictions": [4.0]}, "two letters, not a gap"


@pytest.mark.parametrize("body", [b"a,b\n", b'{"instances": []}'])
@pytest.mark.parametrize("accept", ["text/csv", "application/jsonlines", "application/json"])
def test_no_rows_are_answered_by_none(m: Served, body: bytes, accept: str) -> None:
    kind = b"text/csv" if body.startswith(b"a") else b"application/json"
    status, answer, _ = invoke(m, body, kind, accept=accept)
    assert (status, answer) == (200, '{"predictions":[]}' if accept.endswith("json") else "")


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/json, text/csv;q=0.1", "application/json"),
        ("text/csv;q=0, */*", "application/json"),
        ("text/html, text/csv;q=0.5", "text/csv"),
        ("text/csv, application/json", "text/csv"),
        ("application/json;q=0.2,text/csv; q=0.9", "text/csv"),
        ("text/html", "application/json"),
        ("text/csv;q=x", "text/csv"),
        ("text/*", "text/csv"),
        ("application/json;q=0.1, */*;q=0.9", "application/json"),
    ],
)
def test_what_is_accepted_most_is_answered(m: Served, accept: str, kind: str) -> None:
    _, _, told = invoke(m, {"instances": [[1, 2]]}, accept=accept)
    assert told["content-type"] == kind


def test_a_header_that_comes_twice_has_both_values(m: Served) -> None:
    headers = [JSON, (b"accept", b"text/html"), (b"accept", b"text/csv")]
    body = json.dumps({"instances": [[1, 2]]}).encode()
    _, _, told = m.exchange("POST", "/invocations", body, headers)
    assert told["content-type"] == "text/csv"


def test_sagemakers_names_hold_beside_parameters_of_the_body(m: Served) -> None:
    rows = {"instances": [[1, 2], [3, 4]]}
    own = {"x_amzn_sagemaker_inference_id": "mine", "x_amzn_sagemaker_session_id": "me"}
    _, _, told = invoke(m, {**rows, "parameters": {}}, JSON[1], **own)
    assert told["setpoint-prediction-id"] == "mine.0,mine.1"
    _, _, told = invoke(m, {**rows, "parameters": {"ids": ["a", "b"]}}, JSON[1], **own)
    assert told["setpoint-prediction-id"] == "a,b"
    m.deploy(live(), canary(weight=0.5))
    seen = set()
    for i in range(12):
        parameters = {"ids": [f"{i}"]}
        one = {"instances": [[1, 2]], "parameters": parameters}
        seen.add(invoke(m, one, JSON[1], **own)[2]["setpoint-model-version"])
    assert len(seen) == 1, "a session sticks to its version"
    new = {"x_amzn_sagemaker_session_id": "NEW_SESSION"}
    seen = {
        invoke(m, {"instances": [[1, 2]]}, JSON[1], **new)[2]["setpoint-model-version"]
        for _ in range(40)
    }
    assert seen == {"1", "2"}, "each of them is a session of its own"


def test_the_version_of_each_row_is_told_where_several_answered(m: Served) -> None:
    m.deploy(live(), canary(weight=0.5))
    keys = [f"k{i}" for i in range(20)]
    body = {"instances": [[1, 2]] * 20, "parameters": {"keys": keys}}
    raw = json.dumps(body).encode()
    _, answer, told = m.exchange("POST", "/endpoints/m/invocations", raw, [JSON])
    factors = [each / 3.0 for each in json.loads(answer)["predictions"]]
    versions = told["setpoint-model-version"].split(",")
    assert versions == ["2" if factor == 10.0 else "1" for factor in factors]
    assert set(versions) == {"1", "2"}
    assert told["x-amzn-invoked-production-variant"] == told["setpoint-model-version"]


@pytest.mark.usefixtures("database_url")
def test_headers_are_looked_at_once_or_twice_however_many_there_are() -> None:
    class Counted(list[tuple[bytes, bytes]]):
        looks = 0

        def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
            for each in super().__iter__():
                self.looks += 1
                yield each

    told = Counted([(b"%x" % (i % 4_000), b"") for i in range(8_000)] + [(b"accept", b"a")] * 2)
    found = headers_of(told)
    assert len(found) == 4_001
    assert found[b"accept"] == b"a, a"
    assert told.looks <= 2 * len(told)
