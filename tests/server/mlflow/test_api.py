"""MLflow's interface asked as any language would: its codes, its texts, its odd corners."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.server.web import ask

from setpoint.db.local import LocalBackend
from setpoint.runs import service
from setpoint.runs.commands import Log, ShowRun, Start
from setpoint.runs.entities import Point

# Nothing here is a matter of the database; clients' stories run on both.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def post(url: str, path: str, **message: Any) -> tuple[int, Any]:
    kind = {"content-type": "application/json"}
    body = json.dumps(message).encode()
    answer = ask(url, f"/api/2.0/mlflow/{path}", method="POST", body=body, headers=kind)
    return answer.status, json.loads(answer.body)


def get(url: str, path: str) -> tuple[int, Any]:
    answer = ask(url, f"/api/2.0/mlflow/{path}")
    return answer.status, json.loads(answer.body)


def started(url: str) -> str:
    _, made = post(url, "runs/create", experiment_id="0", start_time="1700000000000")
    run: str = made["run"]["info"]["run_id"]
    return run


@pytest.mark.parametrize(
    ("path", "message", "text"),
    [
        ("runs/log-metric", {"key": "a", "value": 1, "timestamp": 1}, "parameter 'run_id'"),
        ("runs/log-metric", {"run_id": "RUN", "value": 1, "timestamp": 1}, "parameter 'key'"),
        ("runs/log-metric", {"run_id": "RUN", "key": "a", "timestamp": 1}, "parameter 'value'"),
        ("runs/log-metric", {"run_id": "RUN", "key": "a", "value": 1}, "parameter 'timestamp'"),
        (
            "runs/log-metric",
            {"run_id": "RUN", "key": "a", "value": "much", "timestamp": 1},
            "Invalid value \"much\" for parameter 'value' supplied",
        ),
        (
            "runs/log-metric",
            {"run_id": "RUN", "key": "a", "value": 1, "timestamp": 10**18},
            "Timestamp must be",
        ),
        (
            "runs/log-batch",
            {"run_id": "RUN", "metrics": [{"key": "a", "value": 1}]},
            "parameter 'metrics[0].timestamp'",
        ),
        ("runs/log-parameter", {"run_id": "RUN", "key": "a?b", "value": "1"}, "may only contain"),
        ("runs/log-parameter", {"run_id": "RUN", "key": "a/../b", "value": "1"}, "resolve to 'b'"),
        ("runs/log-parameter", {"run_id": "RUN", "key": "a", "value": "x" * 6001}, "6000"),
        ("runs/set-tag", {"run_id": "RUN", "key": "x" * 251, "value": ""}, "250 characters"),
        ("runs/update", {"run_id": "RUN", "status": "DONE"}, "Invalid run status 'DONE'"),
        ("runs/create", {"experiment_id": "one"}, "Invalid experiment ID 'one'"),
        ("runs/search", {"experiment_ids": ["0"], "max_results": 50001}, "max_results"),
        ("runs/search", {"experiment_ids": ["0"], "page_token": "x"}, "page token"),
        ("runs/search", {"experiment_ids": ["0"], "run_view_type": "SOME"}, "view type"),
        ("experiments/create", {"name": "x" * 501}, "500 characters"),
        ("experiments/create", {"name": " "}, "Invalid experiment name"),
        ("experiments/create", {}, "parameter 'name'"),
        ("experiments/create", {"name": "a", "artifact_location": "runs:/x"}, "runs:/ URI"),
        ("runs/log-model", {"run_id": "RUN", "model_json": "{"}, "Malformed model info"),
        ("runs/log-model", {"run_id": "RUN", "model_json": "{}"}, "mandatory fields"),
        ("experiments/search-datasets", {}, "at least one experiment_id"),
        ("logged-models", {"experiment_id": "0", "name": "a/b"}, "Invalid model name"),
        ("traces/delete-traces", {"experiment_id": "0"}, "must be specified"),
    ],
)
def test_what_cannot_be_is_refused_as_the_client_expects(
    path: str, message: dict[str, Any], text: str, empty: str
) -> None:
    asked = json.loads(json.dumps(message).replace("RUN", started(empty)))
    status, answer = post(empty, path, **asked)
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), answer
    assert text in answer["message"]


def test_what_is_not_there_is_told_by_its_code(empty: str) -> None:
    for call, path in (
        (get, "runs/get?run_id=none"),
        (get, "experiments/get?experiment_id=77"),
        (get, "experiments/get-by-name?experiment_name=none"),
        (get, "logged-models/m-none"),
        (post, "runs/delete"),
    ):
        extra = {"run_id": "none"} if call is post else {}
        status, answer = call(empty, path, **extra)
        assert (status, answer["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST"), path
    status, answer = get(empty, "gateway/routes")
    assert (status, answer["error_code"]) == (404, "ENDPOINT_NOT_FOUND")


def test_a_bad_filter_names_its_place_and_suggests(empty: str) -> None:
    _, answer = post(empty, "runs/search", experiment_ids=["0"], filter="metrcs.auc > 0.5")
    assert "did you mean metrics" in answer["message"]
    assert "at character 1" in answer["message"]


def test_a_run_of_our_own_client_is_one_of_mlflows(empty: str, backend: LocalBackend) -> None:
    run = backend.call(
        service.start, Start(experiment="churn", params={"leaves": 31, "deep": True})
    )
    point = Point(name="auc", value=float("nan"), step=2)
    backend.call(service.log, Log(run=run.id, points=[point], tags={"team": "risk"}))
    _, answer = get(empty, f"runs/get?run_id={run.id}")
    data = answer["run"]["data"]
    assert {each["key"]: each["value"] for each in data["params"]} == {
        "leaves": "31",
        "deep": "True",
    }
    assert data["metrics"][0]["value"] == "NaN"
    _, answer = get(empty, "experiments/get-by-name?experiment_name=churn")
    assert answer["experiment"]["experiment_id"] == str(run.experiment_id)


def test_an_experiment_may_keep_its_artifacts_elsewhere(empty: str) -> None:
    _, made = post(empty, "experiments/create", name="x", artifact_location="s3://b/x/")
    number = made["experiment_id"]
    _, run = post(empty, "runs/create", experiment_id=number)
    info = run["run"]["info"]
    assert info["artifact_uri"] == f"s3://b/x/{info['run_id']}/artifacts"
    assert {each["key"] for each in run["run"]["data"]["tags"]} == {"mlflow.runName"}
    _, model = post(empty, "logged-models", experiment_id=number)
    where = model["model"]["info"]
    assert where["artifact_uri"] == f"s3://b/x/models/{where['model_id']}/artifacts"


def test_a_parent_that_is_not_here_is_no_reason_to_fail(empty: str, backend: LocalBackend) -> None:
    tags = [{"key": "mlflow.parentRunId", "value": "elsewhere"}]
    status, made = post(empty, "runs/create", experiment_id="0", tags=tags)
    assert status == 200
    run = backend.call(service.show, ShowRun(run=made["run"]["info"]["run_id"]))
    assert run.parent is None
    assert run.tags["mlflow.parentRunId"] == "elsewhere"


def test_points_of_many_clients_at_once_are_all_kept(empty: str) -> None:
    run = started(empty)

    def log(number: int) -> int:
        asked = {"run_id": run, "key": "loss", "value": number / 7, "timestamp": 1_700_000_000_000}
        return post(empty, "runs/log-metric", **asked, step=number)[0]

    with ThreadPoolExecutor(32) as pool:
        assert set(pool.map(log, range(300))) == {200}
    _, answer = get(empty, f"metrics/get-history?run_id={run}&metric_key=loss")
    assert [(m["step"], m["value"]) for m in answer["metrics"]] == [(i, i / 7) for i in range(300)]


def test_a_batch_is_written_whole_or_not_at_all(empty: str) -> None:
    run = started(empty)
    post(empty, "runs/log-parameter", run_id=run, key="depth", value="3")
    status, _ = post(
        empty,
        "runs/log-batch",
        run_id=run,
        metrics=[{"key": "auc", "value": 1, "timestamp": 1}],
        params=[{"key": "new", "value": "1"}, {"key": "depth", "value": "4"}],
        tags=[{"key": "t", "value": "1"}],
    )
    assert status == 400
    data = get(empty, f"runs/get?run_id={run}")[1]["run"]["data"]
    assert [each["key"] for each in data["params"]] == ["depth"]
    assert "metrics" not in data
    assert [each["key"] for each in data["tags"]] == ["mlflow.runName"]


def test_a_body_that_is_too_large_is_refused(empty: str) -> None:
    body = b'{"run_id": "' + b"x" * (33 * 1024 * 1024) + b'"}'
    kind = {"content-type": "application/json"}
    answer = ask(empty, "/api/2.0/mlflow/runs/log-batch", method="POST", body=body, headers=kind)
    assert answer.status == 400
    assert b"larger than 32 MB" in answer.body


def test_a_page_of_another_site_may_not_change_anything(empty: str) -> None:
    foreign = {"origin": "http://evil.example", "content-type": "application/json"}
    body = b'{"name": "x"}'
    answer = ask(
        empty, "/api/2.0/mlflow/experiments/create", method="POST", body=body, headers=foreign
    )
    assert answer.status == 403
