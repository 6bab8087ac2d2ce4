"""What people do with MLflow's own client, told as short stories it has to get through.

``python mlflow_journeys.py URL [NAME…]`` runs in the client's environment against any tracking
server, MLflow's own among them, and prints one JSON line a journey.
"""

import json
import math
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import (
    AssessmentSource,
    Dataset,
    DatasetInput,
    Feedback,
    InputTag,
    LoggedModelParameter,
    Metric,
    Param,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException
from stories import tell

JOURNEYS: dict[str, Callable[[MlflowClient, str], None]] = {}


def journey(walk: Callable[[MlflowClient, str], None]) -> Callable[[MlflowClient, str], None]:
    JOURNEYS[walk.__name__] = walk
    return walk


def refused(code: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """Return the text of the error that a call must end with."""
    try:
        call(*args, **kwargs)
    except MlflowException as error:
        if error.error_code == code:
            return str(error)
        raise
    raise AssertionError(f"{call.__name__}{args} was not refused")


@journey
def experiments_are_made_found_renamed_and_tagged(client: MlflowClient, name: str) -> None:
    made = client.create_experiment(name, tags={"team": "risk", "empty": ""})
    found = client.get_experiment(made)
    assert found.name == name
    assert found.lifecycle_stage == "active"
    assert found.tags == {"team": "risk", "empty": ""}
    assert abs(found.creation_time - time.time() * 1000) < 3_600_000
    assert client.get_experiment_by_name(name).experiment_id == made
    assert client.get_experiment_by_name(f"{name}-none") is None
    assert "already exists" in refused("RESOURCE_ALREADY_EXISTS", client.create_experiment, name)
    assert f"No Experiment with id=99{made}" in refused(
        "RESOURCE_DOES_NOT_EXIST", client.get_experiment, f"99{made}"
    )
    client.set_experiment_tag(made, "note", "é — 🦊")
    client.delete_experiment_tag(made, "team")
    assert client.get_experiment(made).tags == {"empty": "", "note": "é — 🦊"}
    refused("RESOURCE_DOES_NOT_EXIST", client.delete_experiment_tag, made, "team")
    client.rename_experiment(made, f"{name} renamed")
    assert client.get_experiment(made).name == f"{name} renamed"
    assert mlflow.set_experiment(f"{name} renamed").experiment_id == made
    assert client.get_experiment("0").name == "Default"


@journey
def experiments_are_deleted_and_restored(client: MlflowClient, name: str) -> None:
    made = client.create_experiment(name)
    run = client.create_run(made)
    client.delete_experiment(made)
    assert client.get_experiment(made).lifecycle_stage == "deleted"
    assert made in [e.experiment_id for e in client.search_experiments(ViewType.DELETED_ONLY)]
    assert made not in [e.experiment_id for e in client.search_experiments()]
    refused("INVALID_PARAMETER_VALUE", client.create_run, made)
    client.restore_experiment(made)
    assert client.get_experiment(made).lifecycle_stage == "active"
    assert client.get_run(run.info.run_id).info.lifecycle_stage == "active"


@journey
def experiments_are_searched_page_by_page(client: MlflowClient, name: str) -> None:
    made = [client.create_experiment(f"{name}/{i}", tags={"i": str(i)}) for i in range(7)]
    like = f"name LIKE '{name}/%'"
    pages, token = [], None
    while True:
        page = client.search_experiments(
            filter_string=like, max_results=3, order_by=["name ASC"], page_token=token
        )
        pages.append([e.experiment_id for e in page])
        token = page.token
        if not token:
            break
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [each for page in pages for each in page] == made
    found = client.search_experiments(filter_string=f"{like} AND tags.i = '4'")
    assert [e.experiment_id for e in found] == [made[4]]
    found = client.search_experiments(
        filter_string=f"{like} and tag.i != '4'", order_by=["name DESC"]
    )
    assert [e.experiment_id for e in found] == [m for m in reversed(made) if m != made[4]]
    upper = client.search_experiments(filter_string=f"attribute.name ILIKE '{name.upper()}/%'")
    assert len(upper) == 7
    refused("INVALID_PARAMETER_VALUE", client.search_experiments, filter_string="nonsense = 'a'")
    refused("INVALID_PARAMETER_VALUE", client.search_experiments, max_results=0)


@journey
def a_run_is_started_logged_to_and_ended(client: MlflowClient, name: str) -> None:
    mlflow.set_experiment(name)
    with mlflow.start_run(run_name="first", description="what it is for") as run:
        mlflow.log_params({"depth": 3, "lr": 0.1, "note": "ünïcode 🦊", "path/with": "slash"})
        mlflow.log_metric("loss", 0.5, step=0)
        mlflow.log_metric("loss", 0.25, step=1)
        mlflow.log_metrics({"auc": 0.7, "f1": 0.6}, step=3)
        mlflow.set_tags({"team": "risk", "long": "x" * 5000})
    found = client.get_run(run.info.run_id)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "first"
    assert found.info.end_time >= found.info.start_time
    assert found.data.params == {
        "depth": "3",
        "lr": "0.1",
        "note": "ünïcode 🦊",
        "path/with": "slash",
    }
    assert found.data.metrics == {"loss": 0.25, "auc": 0.7, "f1": 0.6}
    assert found.data.tags["team"] == "risk"
    assert found.data.tags["long"] == "x" * 5000
    assert found.data.tags["mlflow.note.content"] == "what it is for"
    assert found.data.tags["mlflow.runName"] == "first"
    assert found.info.artifact_uri.endswith(f"{run.info.run_id}/artifacts")
    unnamed = client.create_run(found.info.experiment_id)
    assert unnamed.info.run_name
    assert unnamed.data.tags["mlflow.runName"] == unnamed.info.run_name


@journey
def a_run_that_raises_has_failed(client: MlflowClient, name: str) -> None:
    mlflow.set_experiment(name)
    try:
        with mlflow.start_run() as run:
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert client.get_run(run.info.run_id).info.status == "FAILED"
    client.set_terminated(run.info.run_id, "KILLED", end_time=1_700_000_000_123)
    found = client.get_run(run.info.run_id).info
    assert (found.status, found.end_time) == ("KILLED", 1_700_000_000_123)


@journey
def runs_are_nested_and_resumed(client: MlflowClient, name: str) -> None:
    mlflow.set_experiment(name)
    with mlflow.start_run(run_name="parent") as parent:
        children = []
        for i in range(3):
            with mlflow.start_run(run_name=f"child {i}", nested=True) as child:
                mlflow.log_param("i", i)
                children.append(child.info.run_id)
    found = client.search_runs(
        [parent.info.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'"
    )
    assert sorted(run.info.run_id for run in found) == sorted(children)
    assert mlflow.get_parent_run(children[0]).info.run_id == parent.info.run_id
    with mlflow.start_run(run_id=parent.info.run_id):
        assert client.get_run(parent.info.run_id).info.status == "RUNNING"
        mlflow.log_metric("late", 1.0)
    found = client.get_run(parent.info.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.metrics == {"late": 1.0}


@journey
def runs_are_deleted_and_restored(client: MlflowClient, name: str) -> None:
    experiment = client.create_experiment(name)
    kept, gone = (client.create_run(experiment).info.run_id for _ in range(2))
    client.delete_run(gone)
    assert client.get_run(gone).info.lifecycle_stage == "deleted"
    ids = lambda view: [r.info.run_id for r in client.search_runs([experiment], run_view_type=view)]  # noqa: E731
    assert ids(ViewType.ACTIVE_ONLY) == [kept]
    assert ids(ViewType.DELETED_ONLY) == [gone]
    assert sorted(ids(ViewType.ALL)) == sorted([kept, gone])
    text = refused("INVALID_PARAMETER_VALUE", client.log_metric, gone, "a", 1.0)
    assert "must be in the 'active' state" in text
    refused("INVALID_PARAMETER_VALUE", client.set_tag, gone, "a", "b")
    client.restore_run(gone)
    client.log_metric(gone, "a", 1.0)
    assert client.get_run(gone).data.metrics == {"a": 1.0}
    missing = "0" * 32
    assert f"Run with id={missing} not found" in refused(
        "RESOURCE_DOES_NOT_EXIST", client.get_run, missing
    )
    refused("RESOURCE_DOES_NOT_EXIST", client.delete_run, missing)
    refused("RESOURCE_DOES_NOT_EXIST", client.log_metric, missing, "a", 1.0)


@journey
def a_param_keeps_its_first_value(client: MlflowClient, name: str) -> None:
    run = client.create_run(client.create_experiment(name)).info.run_id
    client.log_param(run, "depth", 3)
    client.log_param(run, "depth", 3)
    text = refused("INVALID_PARAMETER_VALUE", client.log_param, run, "depth", 4)
    assert "Changing param values is not allowed" in text
    assert "was already logged with value='3'" in text
    text = refused(
        "INVALID_PARAMETER_VALUE",
        client.log_batch,
        run,
        params=[Param("depth", "5"), Param("x", "1")],
    )
    assert "Changing param values is not allowed" in text
    assert client.get_run(run).data.params["depth"] == "3"
    client.log_param(run, "empty", "")
    assert client.get_run(run).data.params["empty"] == ""
    client.log_param(run, "long", "x" * 6000)
    refused(
        "INVALID_PARAMETER_VALUE",
        client._tracking_client.store.log_param,
        run,
        Param("k" * 251, "v"),
    )


@journey
def tags_are_set_changed_and_deleted(client: MlflowClient, name: str) -> None:
    run = client.create_run(client.create_experiment(name)).info.run_id
    client.set_tag(run, "quality", "good")
    client.set_tag(run, "quality", "better")
    assert client.get_run(run).data.tags["quality"] == "better"
    client.delete_tag(run, "quality")
    assert "quality" not in client.get_run(run).data.tags
    refused("RESOURCE_DOES_NOT_EXIST", client.delete_tag, run, "quality")
    client.set_tag(run, "mlflow.runName", "renamed by its tag")
    assert client.get_run(run).info.run_name == "renamed by its tag"
    client.update_run(run, status="SCHEDULED", name="renamed")
    found = client.get_run(run)
    assert (found.info.run_name, found.info.status) == ("renamed", "SCHEDULED")
    assert found.data.tags["mlflow.runName"] == "renamed"


@journey
def numbers_that_are_no_numbers_come_back(client: MlflowClient, name: str) -> None:
    run = client.create_run(client.create_experiment(name)).info.run_id
    client.log_metric(run, "nan", math.nan, step=1)
    client.log_metric(run, "up", math.inf, step=2)
    client.log_metric(run, "down", -math.inf, step=-3)
    client.log_metric(run, "tiny", 5e-324)
    found = client.get_run(run).data.metrics
    assert math.isnan(found["nan"])
    # MLflow's own server turns infinities into the largest number; here they stay what they are.
    assert (found["up"], found["down"], found["tiny"]) == (math.inf, -math.inf, 5e-324)
    assert math.isnan(client.get_metric_history(run, "nan")[0].value)
    assert client.get_metric_history(run, "down")[0].step == -3


@journey
def a_batch_writes_everything_at_once(client: MlflowClient, name: str) -> None:
    run = client.create_run(client.create_experiment(name)).info.run_id
    now = int(time.time() * 1000)
    metrics = [Metric(f"m{i % 10}", i / 3, now + i, i // 10) for i in range(1000)]
    client.log_batch(run, metrics=metrics)
    client.log_batch(
        run,
        params=[Param(f"p{i}", str(i)) for i in range(100)],
        tags=[RunTag(f"t{i}", str(i)) for i in range(100)],
        metrics=[Metric("last", 1.5, now, 7)],
    )
    found = client.get_run(run)
    assert len(found.data.params) == 100
    assert {f"t{i}" for i in range(100)} <= set(found.data.tags)
    assert found.data.metrics["m9"] == 999 / 3
    assert found.data.metrics["last"] == 1.5
    history = client.get_metric_history(run, "m3")
    assert [(m.step, m.value, m.timestamp) for m in history] == [
        (i // 10, i / 3, now + i) for i in range(3, 1000, 10)
    ]
    store = client._tracking_client.store
    text = refused("INVALID_PARAMETER_VALUE", store.log_batch, run, metrics[:1] * 1001, [], [])
    assert "at most 1000 metrics" in text
    refused(
        "INVALID_PARAMETER_VALUE", store.log_batch, run, [], [Param("a", "1"), Param("a", "2")], []
    )
    refused("INVALID_PARAMETER_VALUE", store.log_batch, run, [Metric("../up", 1.0, now, 0)], [], [])
    refused("INVALID_PARAMETER_VALUE", store.log_batch, run, [Metric("a", 1.0, -1, 0)], [], [])
    client.log_batch(run)


@journey
def a_history_comes_back_whole(client: MlflowClient, name: str) -> None:
    run = client.create_run(client.create_experiment(name)).info.run_id
    now = 1_700_000_000_000
    for start in range(0, 3000, 1000):
        points = [Metric("loss", 1 / (i + 1), now + i, i) for i in range(start, start + 1000)]
        client.log_batch(run, metrics=points)
    client.log_metric(run, "loss", 9.0, timestamp=now - 1, step=1500)
    history = client.get_metric_history(run, "loss")
    assert len(history) == 3001
    assert (history[0].step, history[0].value) == (1500, 9.0)
    assert [m.step for m in history[1:]] == list(range(3000))
    store = client._tracking_client.store
    pages, token = [], None
    while True:
        page = store.get_metric_history(run, "loss", max_results=1000, page_token=token)
        pages += list(page)
        token = page.token
        if not token:
            break
    assert [(m.step, m.value) for m in pages] == [(m.step, m.value) for m in history]
    assert client.get_metric_history(run, "none") == []
    assert client.get_metric_history("f" * 32, "loss") == []
    assert client.get_run(run).data.metrics["loss"] == 1 / 3000


@journey
def histories_of_many_runs_come_thinned(client: MlflowClient, name: str) -> None:
    experiment = client.create_experiment(name)
    runs = [client.create_run(experiment).info.run_id for _ in range(3)]
    for run in runs:
        points = [Metric("loss", float(i), 1_700_000_000_000 + i, i) for i in range(1000)]
        client.log_batch(run, metrics=points)
    answer = ask(
        "GET",
        "2.0/mlflow/metrics/get-history-bulk-interval",
        params={"run_ids": runs, "metric_key": "loss", "max_results": 50},
    )["metrics"]
    for run in runs:
        steps = [int(m["step"]) for m in answer if m["run_id"] == run]
        assert 40 <= len(steps) <= 50
        assert (steps[0], steps[-1]) == (0, 999)
        assert steps == sorted(steps)
    part = ask(
        "GET",
        "2.0/mlflow/metrics/get-history-bulk-interval",
        params={"run_ids": runs[:1], "metric_key": "loss", "start_step": 10, "end_step": 19},
    )["metrics"]
    assert [int(m["step"]) for m in part] == list(range(10, 20))


def ask(method: str, path: str, **how: Any) -> Any:
    """Call an endpoint that the client has no method for, with its own credentials."""
    from mlflow.utils.credentials import get_default_host_creds  # noqa: PLC0415
    from mlflow.utils.rest_utils import http_request, verify_rest_response  # noqa: PLC0415

    creds = get_default_host_creds(mlflow.get_tracking_uri())
    answer = http_request(creds, f"/api/{path}", method, **how)
    return verify_rest_response(answer, f"/api/{path}").json()


def _some_runs(client: MlflowClient, name: str) -> tuple[str, list[str]]:
    experiment = client.create_experiment(name)
    runs = []
    for i in range(6):
        run = client.create_run(experiment, start_time=1_700_000_000_000 + i, run_name=f"run-{i}")
        client.log_batch(
            run.info.run_id,
            metrics=[Metric("auc", i / 10, 1, 0)] + ([Metric("only", 1, 1, 0)] if i == 5 else []),
            params=[Param("leaves", str(2**i)), Param("a b", "quoted name")],
            tags=[RunTag("team", "risk" if i % 2 else "ads"), RunTag("Ünï", "ö'x")],
        )
        runs.append(run.info.run_id)
    client.set_terminated(runs[0], "FAILED", end_time=1_700_000_001_000)
    return experiment, runs


@journey
def runs_are_searched_by_any_filter(client: MlflowClient, name: str) -> None:
    experiment, runs = _some_runs(client, name)

    def found(text: str, order: tuple[str, ...] = ("attributes.start_time ASC",)) -> list[int]:
        page = client.search_runs([experiment], text, order_by=list(order))
        return [runs.index(run.info.run_id) for run in page]

    everything = list(range(6))
    for text, wanted in {
        "": everything,
        "metrics.auc > 0.25": [3, 4, 5],
        "metrics.auc >= 0.3 and metrics.auc < 0.5": [3, 4],
        "metric.auc != 0.3": [0, 1, 2, 4, 5],
        "metrics.`auc` <= 0.1": [0, 1],
        'metrics."only" = 1': [5],
        "params.leaves = '8'": [3],
        'params.leaves = "8"': [3],
        "parameters.leaves LIKE '_'": [0, 1, 2, 3],
        "param.`a b` LIKE 'quoted%'": everything,
        "params.\"a b\" ILIKE 'QUOTED%'": everything,
        "params.leaves != '8' AND tags.team = 'risk'": [1, 5],
        "tags.team LIKE 'r%'": [1, 3, 5],
        "tags.`team` ILIKE 'RI_K'": [1, 3, 5],
        'tag.`Ünï` = "ö\'x"': everything,
        "attributes.status = 'FAILED'": [0],
        "status != 'FAILED'": [1, 2, 3, 4, 5],
        "attributes.run_name = 'run-2'": [2],
        "run_name LIKE 'run-%' AND attribute.`Run name` != 'run-4'": [0, 1, 2, 3, 5],
        f"run_id = '{runs[4]}'": [4],
        f"attributes.run_id IN ('{runs[4]}','{runs[1]}')": [1, 4],
        f"attributes.run_id NOT IN ('{runs[4]}','{runs[1]}')": [0, 2, 3, 5],
        "attributes.start_time > 1700000000003": [4, 5],
        "attributes.end_time = 1700000001000": [0],
        "tags.mlflow.runName = 'run-3'": [3],
        "metrics.none > 1": [],
    }.items():
        assert found(text) == wanted, text
    assert found("", ("metrics.auc DESC",)) == everything[::-1]
    assert found("", ("params.`a b` ASC", "metrics.auc")) == everything
    assert found("", ("metrics.only DESC", "start_time")) == [5, 0, 1, 2, 3, 4]
    assert found("", ("tags.team", "attributes.start_time DESC")) == [4, 2, 0, 5, 3, 1]
    assert found("", ("attributes.`run_name` desc",)) == everything[::-1]
    for text in (
        "metrics.auc > 'a'",
        "metrics.auc LIKE 'a'",
        "auc > 1",
        "metrics.auc >",
        "nothing.at = 'all'",
        "attributes.nothing = 'a'",
    ):
        refused("INVALID_PARAMETER_VALUE", client.search_runs, [experiment], text)
    refused("INVALID_PARAMETER_VALUE", client.search_runs, [experiment], order_by=["nothing"])
    assert client.search_runs([]) == []


@journey
def runs_are_searched_page_by_page(client: MlflowClient, name: str) -> None:
    experiment, runs = _some_runs(client, name)
    pages, token = [], None
    while True:
        page = client.search_runs(
            [experiment], max_results=4, order_by=["metrics.auc DESC"], page_token=token
        )
        pages.append([runs.index(run.info.run_id) for run in page])
        token = page.token
        if not token:
            break
    assert pages == [[5, 4, 3, 2], [1, 0]]
    frame = mlflow.search_runs([experiment], order_by=["attributes.start_time"])
    assert isinstance(frame, pd.DataFrame)
    assert list(frame["params.leaves"]) == ["1", "2", "4", "8", "16", "32"]
    assert list(frame["run_id"]) == runs
    newest = client.search_runs([experiment])
    assert [runs.index(run.info.run_id) for run in newest] == [5, 4, 3, 2, 1, 0]
    refused("INVALID_PARAMETER_VALUE", client.search_runs, [experiment], max_results=50_001)


@journey
def inputs_and_datasets_are_kept_with_a_run(client: MlflowClient, name: str) -> None:
    mlflow.set_experiment(name)
    frame = pd.DataFrame({"x": [1.0, 2.0], "y": [0, 1]})
    data = mlflow.data.from_pandas(
        frame, source="https://example.com/x.csv", name="flights", targets="y"
    )
    with mlflow.start_run() as run:
        mlflow.log_input(data, context="training", tags={"season": "winter"})
        mlflow.log_input(data, context="training")
    (found,) = client.get_run(run.info.run_id).inputs.dataset_inputs
    assert found.dataset.name == "flights"
    assert found.dataset.digest == data.digest
    assert "example.com" in found.dataset.source
    assert json.loads(found.dataset.schema)["mlflow_colspec"]
    assert json.loads(found.dataset.profile)["num_rows"] == 2
    assert {tag.key: tag.value for tag in found.tags} == {
        "mlflow.data.context": "training",
        "season": "winter",
    }
    assert mlflow.data.get_source(found).to_dict()["url"] == "https://example.com/x.csv"
    other = client.create_run(run.info.experiment_id).info.run_id
    client.log_inputs(
        other,
        [
            DatasetInput(
                Dataset("weather", "d1", "local", "/tmp/w", None, None),  # noqa: S108 - a name only
                [InputTag("mlflow.data.context", "eval")],
            )
        ],
    )
    by = lambda text: [r.info.run_id for r in client.search_runs([run.info.experiment_id], text)]  # noqa: E731
    assert by("dataset.name = 'flights'") == [run.info.run_id]
    assert by("datasets.digest = 'd1'") == [other]
    assert by("dataset.context = 'eval'") == [other]
    assert by("datasets.name LIKE 'fl%' AND dataset.context = 'training'") == [run.info.run_id]
    summaries = ask(
        "POST",
        "2.0/mlflow/experiments/search-datasets",
        json={"experiment_ids": [run.info.experiment_id]},
    )["dataset_summaries"]
    assert {(s["name"], s["context"]) for s in summaries} == {
        ("flights", "training"),
        ("weather", "eval"),
    }


@journey
def artifacts_go_up_and_come_down(client: MlflowClient, name: str) -> None:
    mlflow.set_experiment(name)
    with tempfile.TemporaryDirectory() as folder, mlflow.start_run() as run:
        here = Path(folder)
        (here / "top.txt").write_text("top")
        (here / "nested/deep").mkdir(parents=True)
        (here / "nested/a b ü.txt").write_text("spaces and ümlauts")
        (here / "nested/deep/big.bin").write_bytes(os.urandom(3_500_000))
        (here / "empty").write_bytes(b"")
        mlflow.log_artifact(str(here / "top.txt"))
        mlflow.log_artifacts(folder, "all")
        mlflow.log_text("hello", "texts/hello.txt")
        mlflow.log_dict({"a": [1, 2]}, "config.json")
        mlflow.log_image(np.zeros((4, 4, 3), np.uint8), "image.png")
        mlflow.log_table({"q": ["x"], "a": [1]}, "table.json")
        mlflow.log_table({"q": ["y"], "a": [2]}, "table.json")
        names = lambda path=None: [  # noqa: E731
            (f.path, f.is_dir, f.file_size) for f in client.list_artifacts(run.info.run_id, path)
        ]
        assert ("top.txt", False, 3) in names()
        assert ("all", True, None) in names()
        assert names("all/nested") == [
            ("all/nested/a b ü.txt", False, 19),
            ("all/nested/deep", True, None),
        ]
        assert names("all/empty") == []
        assert names("nowhere") == []
        with tempfile.TemporaryDirectory() as down:
            path = client.download_artifacts(run.info.run_id, "all", down)
            for each in here.rglob("*"):
                if each.is_file():
                    assert (Path(path) / each.relative_to(here)).read_bytes() == each.read_bytes()
        assert mlflow.artifacts.load_dict(f"runs:/{run.info.run_id}/config.json") == {"a": [1, 2]}
        assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/texts/hello.txt") == "hello"
        assert len(mlflow.load_table("table.json", run_ids=[run.info.run_id])) == 2
        listed = ask(
            "GET", "2.0/mlflow/artifacts/list", params={"run_id": run.info.run_id, "path": "texts"}
        )
        assert [f["path"] for f in listed["files"]] == ["texts/hello.txt"]
        assert listed["root_uri"] == run.info.artifact_uri
        mlflow.log_text("hello again", "texts/hello.txt")
        assert (
            mlflow.artifacts.load_text(f"{run.info.artifact_uri}/texts/hello.txt") == "hello again"
        )
        repository = mlflow.store.artifact.artifact_repository_registry.get_artifact_repository(
            run.info.artifact_uri
        )
        repository.delete_artifacts("all")
        assert not any(path == "all" for path, _, _ in names())


@journey
def large_files_go_in_parts(client: MlflowClient, name: str) -> None:
    from mlflow.store.artifact.artifact_repository_registry import (  # noqa: PLC0415
        get_artifact_repository,
    )

    os.environ["MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD"] = "true"
    os.environ["MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD"] = "true"
    os.environ["MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE"] = str(5 << 20)
    os.environ["MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE"] = str(5 << 20)
    os.environ["MLFLOW_MULTIPART_DOWNLOAD_CHUNK_SIZE"] = str(5 << 20)
    try:
        run = client.create_run(client.create_experiment(name))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "large.bin"
            file.write_bytes(os.urandom(12_345_678))
            repository = get_artifact_repository(run.info.artifact_uri)
            repository.log_artifact(str(file), "models")
            with tempfile.TemporaryDirectory() as down:
                path = Path(repository.download_artifacts("models/large.bin", down))
                assert path.read_bytes() == file.read_bytes()
    finally:
        for each in [key for key in os.environ if "MULTIPART" in key]:
            del os.environ[each]


def _data() -> tuple[Any, Any]:
    from sklearn.datasets import make_classification  # noqa: PLC0415

    return make_classification(200, 5, random_state=0)


@journey
def a_model_is_logged_and_loaded(client: MlflowClient, name: str) -> None:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    mlflow.set_experiment(name)
    x, y = _data()
    model = LogisticRegression().fit(x, y)
    with mlflow.start_run() as run:
        info = mlflow.sklearn.log_model(
            model, name="clf", input_example=x[:3], params={"c": 1.0}, tags={"kind": "linear"}
        )
    wanted = model.predict(x)
    for uri in (info.model_uri, f"models:/{info.model_id}", f"runs:/{run.info.run_id}/clf"):
        assert (mlflow.pyfunc.load_model(uri).predict(x) == wanted).all(), uri
    found = mlflow.get_logged_model(info.model_id)
    assert (found.name, str(found.status), found.source_run_id) == ("clf", "READY", run.info.run_id)
    assert found.params == {"c": "1.0"}
    assert found.tags["kind"] == "linear"
    (output,) = client.get_run(run.info.run_id).outputs.model_outputs
    assert output.model_id == info.model_id
    assert mlflow.models.get_model_info(info.model_uri).signature is not None
    files = {f.path for f in client.list_logged_model_artifacts(info.model_id)}
    assert {"MLmodel", "model.pkl", "requirements.txt"} & files >= {"MLmodel", "requirements.txt"}


@journey
def logged_models_are_measured_tagged_searched_and_deleted(client: MlflowClient, name: str) -> None:
    experiment = client.create_experiment(name)
    run = client.create_run(experiment).info.run_id
    models = [
        client.create_logged_model(
            experiment,
            name=f"m{i}",
            source_run_id=run,
            tags={"i": str(i)},
            params={"depth": str(i)},
            model_type="forest",
        )
        for i in range(4)
    ]
    for i, model in enumerate(models):
        client.log_metric(
            run,
            "auc",
            i / 10,
            step=1,
            model_id=model.model_id,
            dataset_name="d",
            dataset_digest="1",
        )
        client.finalize_logged_model(model.model_id, "READY" if i else "FAILED")
    found = client.get_logged_model(models[2].model_id)
    (metric,) = found.metrics
    assert (metric.key, metric.value, metric.dataset_name, metric.run_id) == ("auc", 0.2, "d", run)
    assert str(client.get_logged_model(models[0].model_id).status) == "FAILED"
    client.set_logged_model_tags(models[1].model_id, {"i": "one", "new": "x"})
    client.delete_logged_model_tag(models[1].model_id, "new")
    assert client.get_logged_model(models[1].model_id).tags == {"i": "one"}
    client.log_model_params(models[1].model_id, {"extra": "1"})
    assert client.get_logged_model(models[1].model_id).params == {"depth": "1", "extra": "1"}

    def names(text: str = "", **how: Any) -> list[str]:
        page = client.search_logged_models([experiment], filter_string=text or None, **how)
        return [each.name for each in page]

    assert sorted(names()) == ["m0", "m1", "m2", "m3"]
    assert names("name = 'm2'") == ["m2"]
    assert sorted(names("metrics.auc > 0.15")) == ["m2", "m3"]
    assert names("params.depth = '3' AND tags.i = '3'") == ["m3"]
    assert names("model_type = 'forest' AND name LIKE '%1'") == ["m1"]
    assert sorted(names("name IN ('m0', 'm3')")) == ["m0", "m3"]
    by = [{"field_name": "metrics.auc", "ascending": False}]
    assert names(order_by=by) == ["m3", "m2", "m1", "m0"]
    assert names(order_by=[{"field_name": "name", "ascending": True}])[0] == "m0"
    page = client.search_logged_models([experiment], max_results=3, order_by=by)
    rest = client.search_logged_models(
        [experiment], max_results=3, order_by=by, page_token=page.token
    )
    assert [m.name for m in page] + [m.name for m in rest] == ["m3", "m2", "m1", "m0"]
    assert sorted(names(datasets=[{"dataset_name": "d", "dataset_digest": "1"}])) == [
        "m0",
        "m1",
        "m2",
        "m3",
    ]
    assert names(datasets=[{"dataset_name": "d", "dataset_digest": "2"}]) == []
    client.delete_logged_model(models[3].model_id)
    assert "m3" not in names()
    refused("RESOURCE_DOES_NOT_EXIST", client.get_logged_model, models[3].model_id)
    client.log_inputs(run, models=[mlflow.entities.LoggedModelInput(models[1].model_id)])
    (used,) = client.get_run(run).inputs.model_inputs
    assert used.model_id == models[1].model_id


@journey
def a_registered_model_is_loaded_by_its_alias(client: MlflowClient, name: str) -> None:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    mlflow.set_experiment(name)
    x, y = _data()
    registered = name.replace("/", "-")
    with mlflow.start_run():
        model = LogisticRegression().fit(x, y)
        mlflow.sklearn.log_model(model, name="clf", registered_model_name=registered)
    client.set_registered_model_alias(registered, "champion", "1")
    loaded = mlflow.pyfunc.load_model(f"models:/{registered}@champion")
    assert (loaded.predict(x) == model.predict(x)).all()
    assert (
        mlflow.pyfunc.load_model(f"models:/{registered}/1").predict(x) == model.predict(x)
    ).all()
    assert client.get_model_version_by_alias(registered, "champion").version in {"1", 1}


@journey
def one_call_makes_every_library_log_by_itself(client: MlflowClient, name: str) -> None:
    import lightgbm  # noqa: PLC0415
    import xgboost  # noqa: PLC0415
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    mlflow.set_experiment(name)
    x, y = _data()
    mlflow.autolog(silent=True)  # before the stories that switch one library: those it leaves alone
    try:
        runs = []
        for fit in (
            lambda: LogisticRegression().fit(x, y),
            lambda: xgboost.XGBClassifier(n_estimators=3).fit(x, y),
            lambda: lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(x, y),
        ):
            fit()
            runs.append(mlflow.last_active_run().info.run_id)
    finally:
        mlflow.autolog(disable=True)
    assert len(set(runs)) == 3
    for run in runs:
        found = client.get_run(run)
        assert found.info.status == "FINISHED"
        assert found.data.params
        assert found.outputs.model_outputs


@journey
def sklearn_logs_by_itself(client: MlflowClient, name: str) -> None:
    from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415
    from sklearn.model_selection import GridSearchCV  # noqa: PLC0415

    mlflow.set_experiment(name)
    x, y = _data()
    mlflow.sklearn.autolog(log_datasets=True)
    try:
        with mlflow.start_run() as run:
            RandomForestClassifier(n_estimators=5, random_state=0).fit(x, y)
        with mlflow.start_run() as search:
            GridSearchCV(
                RandomForestClassifier(n_estimators=3, random_state=0), {"max_depth": [2, 3]}, cv=2
            ).fit(x, y)
    finally:
        mlflow.sklearn.autolog(disable=True)
    found = client.get_run(run.info.run_id)
    assert found.data.params["n_estimators"] == "5"
    assert found.data.metrics["training_accuracy_score"] > 0.8
    assert found.inputs.dataset_inputs
    assert found.outputs.model_outputs
    assert "training_confusion_matrix.png" in {
        f.path for f in client.list_artifacts(run.info.run_id)
    }
    children = client.search_runs(
        [search.info.experiment_id], f"tags.mlflow.parentRunId = '{search.info.run_id}'"
    )
    assert {run.data.params["max_depth"] for run in children} == {"2", "3"}


@journey
def xgboost_logs_by_itself(client: MlflowClient, name: str) -> None:
    import xgboost  # noqa: PLC0415

    mlflow.set_experiment(name)
    x, y = _data()
    mlflow.xgboost.autolog()
    try:
        with mlflow.start_run() as run:
            data = xgboost.DMatrix(x, y)
            xgboost.train(
                {"max_depth": 2, "objective": "binary:logistic"}, data, 5, evals=[(data, "train")]
            )
    finally:
        mlflow.xgboost.autolog(disable=True)
    found = client.get_run(run.info.run_id)
    assert found.data.params["max_depth"] == "2"
    assert len(client.get_metric_history(run.info.run_id, "train-logloss")) == 5
    assert found.outputs.model_outputs


@journey
def lightgbm_logs_by_itself(client: MlflowClient, name: str) -> None:
    import lightgbm  # noqa: PLC0415

    mlflow.set_experiment(name)
    x, y = _data()
    mlflow.lightgbm.autolog()
    try:
        with mlflow.start_run() as run:
            data = lightgbm.Dataset(x, y)
            lightgbm.train(
                {"objective": "binary", "verbose": -1, "num_threads": 1},
                data,
                5,
                valid_sets=[data],
                valid_names=["train"],
            )
    finally:
        mlflow.lightgbm.autolog(disable=True)
    found = client.get_run(run.info.run_id)
    assert found.data.params["objective"] == "binary"
    assert len(client.get_metric_history(run.info.run_id, "train-binary_logloss")) == 5
    assert found.outputs.model_outputs


@journey
def boosters_are_registered_loaded_and_evaluated(client: MlflowClient, name: str) -> None:
    import lightgbm  # noqa: PLC0415
    import xgboost  # noqa: PLC0415

    mlflow.set_experiment(name)
    x, y = _data()
    frame = pd.DataFrame(x, columns=[f"x{i}" for i in range(5)])
    for flavor, model in (
        (mlflow.xgboost, xgboost.XGBClassifier(n_estimators=3)),
        (mlflow.lightgbm, lightgbm.LGBMClassifier(n_estimators=3, verbose=-1)),
    ):
        model.fit(frame, y)
        registered = f"{name}-{flavor.FLAVOR_NAME}"
        with mlflow.start_run() as run:
            info = flavor.log_model(
                model, name="m", registered_model_name=registered, input_example=frame[:2]
            )
            result = mlflow.evaluate(
                info.model_uri,
                data=frame.assign(label=y),
                targets="label",
                model_type="classifier",
                evaluators=["default"],
                evaluator_config={"default": {"log_explainer": False}},
            )
        client.set_registered_model_alias(registered, "champion", "1")
        loaded = mlflow.pyfunc.load_model(f"models:/{registered}@champion")
        assert (loaded.predict(frame) == model.predict(frame)).all()
        kept = client.get_run(run.info.run_id).data.metrics
        assert kept["accuracy_score"] == result.metrics["accuracy_score"]


@journey
def a_model_is_evaluated(client: MlflowClient, name: str) -> None:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    mlflow.set_experiment(name)
    x, y = _data()
    frame = pd.DataFrame(x, columns=[f"x{i}" for i in range(5)]).assign(label=y)
    model = LogisticRegression().fit(frame.drop(columns="label"), y)
    with mlflow.start_run() as run:
        info = mlflow.sklearn.log_model(
            model, name="clf", input_example=frame.drop(columns="label")[:2]
        )
        result = mlflow.models.evaluate(
            info.model_uri,
            data=frame,
            targets="label",
            model_type="classifier",
            evaluators=["default"],
            evaluator_config={"default": {"log_explainer": False}},
        )
    found = client.get_run(run.info.run_id)
    assert found.data.metrics["accuracy_score"] == result.metrics["accuracy_score"]
    assert found.inputs.dataset_inputs
    assert result.artifacts
    measured = mlflow.get_logged_model(info.model_id).metrics
    assert "accuracy_score" in {metric.key for metric in measured}


@journey
def traces_are_started_ended_searched_tagged_and_deleted(client: MlflowClient, name: str) -> None:
    experiment = mlflow.set_experiment(name).experiment_id

    @mlflow.trace(name="inner", span_type="TOOL")
    def inner(x: int) -> int:
        return x + 1

    @mlflow.trace(name="outer", attributes={"a": 1})
    def outer(x: int) -> int:
        mlflow.update_current_trace(tags={"asked": str(x)}, metadata={"who": "ada"})
        return inner(x) * 2

    for i in range(3):
        assert outer(i) == (i + 1) * 2
    mlflow.flush_trace_async_logging()
    found = client.search_traces(locations=[experiment])
    assert len(found) == 3
    newest = next(trace for trace in found if trace.info.tags["asked"] == "2")
    assert [span.name for span in newest.data.spans] == ["outer", "inner"]
    assert newest.data.spans[0].inputs == {"x": 2}
    assert newest.data.spans[0].outputs == 6
    assert str(newest.info.state) == "OK"
    assert newest.info.tags["asked"] == "2"
    assert newest.info.trace_metadata["who"] == "ada"
    assert newest.info.execution_duration >= 0
    again = client.get_trace(newest.info.trace_id)
    assert again.data.spans[1].outputs == 3
    client.set_trace_tag(newest.info.trace_id, "seen", "yes")
    assert len(client.search_traces(locations=[experiment], filter_string="tags.seen = 'yes'")) == 1
    assert (
        len(client.search_traces(locations=[experiment], filter_string="attributes.status = 'OK'"))
        == 3
    )
    assert (
        len(client.search_traces(locations=[experiment], filter_string="trace.name = 'outer'")) == 3
    )
    by = client.search_traces(locations=[experiment], order_by=["timestamp_ms ASC"], max_results=2)
    assert len(by) == 2
    rest = client.search_traces(
        locations=[experiment], order_by=["timestamp_ms ASC"], max_results=2, page_token=by.token
    )
    assert sorted(trace.info.tags["asked"] for trace in [*by, *rest]) == ["0", "1", "2"]
    times = [trace.info.request_time for trace in [*by, *rest]]
    assert times == sorted(times)
    client.delete_trace_tag(newest.info.trace_id, "seen")
    assert "seen" not in client.get_trace(newest.info.trace_id).info.tags
    refused("RESOURCE_DOES_NOT_EXIST", client.delete_trace_tag, newest.info.trace_id, "seen")
    assert client.delete_traces(experiment, trace_ids=[newest.info.trace_id]) == 1
    assert len(client.search_traces(locations=[experiment])) == 2
    until = int(time.time() * 1000) + 10_000
    assert client.delete_traces(experiment, max_timestamp_millis=until, max_traces=10) == 2
    assert client.search_traces(locations=[experiment]) == []


@journey
def traces_are_found_by_what_their_spans_and_judges_say(client: MlflowClient, name: str) -> None:
    experiment = mlflow.set_experiment(name).experiment_id

    @mlflow.trace(name="look up", span_type="RETRIEVER", attributes={"index": "flights"})
    def look_up(x: int) -> list[str]:
        if x == 2:
            raise KeyError("gone")
        return [f"document {x} é"]

    ids = []
    for x in range(3):
        try:
            with mlflow.start_span("ask", attributes={"model": f"m{x}", "size": x}) as span:
                ids.append(span.trace_id)
                span.set_inputs({"x": x})
                mlflow.update_current_trace(
                    metadata={"who": f"u{x}", **({"vip": "1"} if x else {})},
                    client_request_id=f"c{x}",
                )
                span.add_event(mlflow.entities.SpanEvent("asked", attributes={"n": x}))
                span.set_outputs(look_up(x))
        except KeyError:
            pass
    mlflow.flush_trace_async_logging()
    source = AssessmentSource("HUMAN", "ada")
    for x, trace_id in enumerate(ids):
        mlflow.log_feedback(trace_id=trace_id, name="good", value=x > 0, source=source)
        mlflow.log_feedback(trace_id=trace_id, name="score", value=x / 2, source=source)
    mlflow.log_expectation(trace_id=ids[0], name="answer", value="yes", source=source)

    def found(text: str) -> list[int]:
        traces = client.search_traces(locations=[experiment], filter_string=text)
        return sorted(ids.index(trace.info.trace_id) for trace in traces)  # all of one millisecond

    now = int(time.time() * 1000)
    for text, wanted in {
        "trace.status = 'ERROR'": [2],
        "status IN ('OK', 'ERROR')": [0, 1, 2],
        f"trace.timestamp_ms <= {now} AND trace.timestamp_ms > {now - 3_600_000}": [0, 1, 2],
        "trace.execution_time_ms < 0": [],
        f"trace.end_time_ms <= {now}": [0, 1, 2],
        "trace.client_request_id = 'c1'": [1],
        "trace.name LIKE 'as%'": [0, 1, 2],
        "metadata.who = 'u2'": [2],
        "request_metadata.who != 'u2'": [0, 1],
        "metadata.vip IS NULL": [0],
        "metadata.vip IS NOT NULL": [1, 2],
        "span.name = 'look up'": [0, 1, 2],
        "span.name ILIKE 'LOOK%'": [0, 1, 2],
        "span.type = 'RETRIEVER' AND span.status = 'ERROR'": [2],
        "span.type = 'RETRIEVER' AND span.attributes.model = 'm1'": [],  # of two spans
        "span.type IN ('RETRIEVER', 'TOOL')": [0, 1, 2],
        "span.attributes.model = 'm1'": [1],
        "span.attributes.model LIKE '%2'": [2],
        "span.attributes.size = '1'": [1],
        "span.attributes.model RLIKE '^m[01]$'": [0, 1],
        "span.attributes.index = 'flights' AND span.attributes.model = 'm1'": [],
        "trace.text LIKE '%document 1 é%'": [1],
        "span.content ILIKE '%DOCUMENT 0%'": [0],
        "feedback.good = 'true'": [1, 2],
        "feedback.good != 'true'": [0],
        "feedback.score > 0.25": [1, 2],
        "feedback.none IS NULL": [0, 1, 2],
        "expectation.answer = 'yes'": [0],
        "expectation.answer IS NOT NULL": [0],
        "feedback.good = 'true' AND span.attributes.model = 'm2'": [2],
    }.items():
        assert found(text) == wanted, (text, found(text))
    for text in ("span.nothing = 'a'", "span.name > 1", "nothing.at = 'all'"):
        refused("INVALID_PARAMETER_VALUE", client.search_traces, [experiment], text)
    whole = client.get_trace(ids[2])
    ask, look = whole.data.spans
    assert (ask.name, look.name, look.parent_id) == ("ask", "look up", ask.span_id)
    assert (look.span_type, look.get_attribute("index")) == ("RETRIEVER", "flights")
    assert (ask.get_attribute("model"), ask.get_attribute("size")) == ("m2", 2)
    assert str(look.status.status_code.value) == "ERROR"
    assert "gone" in look.status.description
    assert ask.events[0].attributes == {"n": 2}
    assert look.start_time_ns >= ask.start_time_ns
    assert look.end_time_ns <= ask.end_time_ns
    assert whole.info.request_preview == '{"x": 2}'
    assert json.loads(client.get_trace(ids[0]).data.response) == ["document 0 é"]
    infos = client.search_traces(locations=[experiment], include_spans=False)
    assert [len(trace.data.spans) for trace in infos] == [0, 0, 0]
    frame = mlflow.search_traces(locations=[experiment])
    assert sorted(frame["trace_id"]) == sorted(ids)


@journey
def any_exporter_of_opentelemetry_is_heard(client: MlflowClient, name: str) -> None:
    from opentelemetry.exporter.otlp.proto.http import Compression  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: PLC0415

    experiment = client.create_experiment(name)
    run = client.create_run(experiment).info.run_id
    exporter = OTLPSpanExporter(
        f"{mlflow.get_tracking_uri()}/v1/traces",
        headers={"x-mlflow-experiment-id": experiment, "x-mlflow-run-id": run},
        compression=Compression.Gzip,
    )
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))  # a span an export
    tracer = provider.get_tracer("of their own")
    given = {"session.id": "s1", "ratio": 0.5, "tags": ["a", "b"], "on": True}
    with (
        tracer.start_as_current_span("request", attributes=given),
        tracer.start_as_current_span("step") as step,
    ):
        step.add_event("met", {"n": 1})
        step.record_exception(ValueError("odd"))
    (trace,) = client.search_traces(locations=[experiment], run_id=run)
    request, step = trace.data.spans
    assert (request.name, step.name, step.parent_id) == ("request", "step", request.span_id)
    assert {key: request.get_attribute(key) for key in given} == {**given, "tags": ["a", "b"]}
    assert [event.name for event in step.events] == ["met", "exception"]
    assert str(trace.info.state) == "OK"
    assert trace.info.trace_metadata["mlflow.trace.session"] == "s1"
    assert trace.info.tags["mlflow.traceName"] == "request"
    assert abs(trace.info.request_time - time.time() * 1000) < 3_600_000
    found = client.search_traces(
        locations=[experiment], filter_string="span.attributes.on = 'true'"
    )
    assert len(found) == 1


@journey
def traces_are_judged_and_linked_to_runs(client: MlflowClient, name: str) -> None:
    experiment = mlflow.set_experiment(name).experiment_id
    with mlflow.start_run() as run, mlflow.start_span("ask") as span:
        span.set_inputs({"q": "why"})
        span.set_outputs("because")
    mlflow.flush_trace_async_logging()
    trace_id = span.trace_id
    assert [
        t.info.trace_id
        for t in client.search_traces(locations=[experiment], run_id=run.info.run_id)
    ] == [trace_id]
    source = AssessmentSource("HUMAN", "ada")
    said = mlflow.log_feedback(
        trace_id=trace_id, name="good", value=True, rationale="short", source=source
    )
    mlflow.log_expectation(
        trace_id=trace_id, name="answer", value={"text": "because"}, source=source
    )
    found = {a.name: a for a in mlflow.get_trace(trace_id).info.assessments}
    assert found["good"].value is True
    assert found["good"].rationale == "short"
    assert found["answer"].value == {"text": "because"}
    mlflow.update_assessment(trace_id, said.assessment_id, Feedback(name="good", value=False))
    assert mlflow.get_assessment(trace_id, said.assessment_id).value is False
    better = mlflow.override_feedback(
        trace_id=trace_id, assessment_id=said.assessment_id, value="maybe", source=source
    )
    assert mlflow.get_assessment(trace_id, said.assessment_id).valid is False
    mlflow.delete_assessment(trace_id, better.assessment_id)
    assert mlflow.get_assessment(trace_id, said.assessment_id).valid is True
    refused("RESOURCE_DOES_NOT_EXIST", mlflow.get_assessment, trace_id, better.assessment_id)
    other = client.create_run(experiment).info.run_id
    client.link_traces_to_run([trace_id], other)
    assert [
        t.info.trace_id for t in client.search_traces(locations=[experiment], run_id=other)
    ] == [trace_id]


@journey
def metrics_come_asynchronously_and_of_the_machine(client: MlflowClient, name: str) -> None:
    mlflow.set_experiment(name)
    mlflow.set_system_metrics_sampling_interval(0.1)
    mlflow.set_system_metrics_samples_before_logging(1)
    with mlflow.start_run(log_system_metrics=True) as run:
        for step in range(100):
            mlflow.log_metric("loss", step / 7, step=step, synchronous=False)
        mlflow.flush_async_logging()
        while (
            "system/cpu_utilization_percentage" not in client.get_run(run.info.run_id).data.metrics
        ):
            pass
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(i, i / 7) for i in range(100)]


@journey
def evaluations_keep_their_datasets_and_scorers(client: MlflowClient, name: str) -> None:
    from mlflow.genai import datasets, scorers  # noqa: PLC0415

    experiment = mlflow.set_experiment(name).experiment_id
    made = datasets.create_dataset(name=name, experiment_id=[experiment], tags={"team": "risk"})
    rows = [{"inputs": {"q": q}, "expectations": {"a": q.upper()}} for q in ("x", "y")]
    made.merge_records(rows)
    made.merge_records([{"inputs": {"q": "x"}, "expectations": {"b": 1}, "tags": {"t": "1"}}])
    found = datasets.get_dataset(dataset_id=made.dataset_id)
    frame = found.to_df()
    assert list(frame["inputs"]) == [{"q": "x"}, {"q": "y"}]
    assert list(frame["expectations"]) == [{"a": "X", "b": 1}, {"a": "Y"}]
    assert (found.name, found.tags["team"], found.experiment_ids) == (name, "risk", [experiment])
    assert json.loads(found.profile)["num_records"] == 2
    by = lambda text: [d.dataset_id for d in datasets.search_datasets(filter_string=text)]  # noqa: E731
    assert by(f"name = '{name}'") == [made.dataset_id]
    assert by(f"tags.team = 'risk' AND name LIKE '{name[:-2]}%'") == [made.dataset_id]
    datasets.set_dataset_tags(dataset_id=made.dataset_id, tags={"team": None, "new": "1"})
    assert datasets.get_dataset(dataset_id=made.dataset_id).tags.get("new") == "1"
    assert "team" not in datasets.get_dataset(dataset_id=made.dataset_id).tags
    datasets.delete_dataset_tag(dataset_id=made.dataset_id, key="new")
    other = client.create_experiment(f"{name} other")
    datasets.add_dataset_to_experiments(dataset_id=made.dataset_id, experiment_ids=[other])
    assert sorted(datasets.get_dataset(dataset_id=made.dataset_id).experiment_ids) == sorted(
        [experiment, other]
    )
    datasets.remove_dataset_from_experiments(dataset_id=made.dataset_id, experiment_ids=[other])
    assert len(datasets.search_datasets(experiment_ids=[other])) == 0
    found.delete_records([found.to_df()["dataset_record_id"][0]])
    assert len(datasets.get_dataset(dataset_id=made.dataset_id).to_df()) == 1

    def answer(q: str) -> str:
        return q.upper()

    @scorers.scorer
    def exact(outputs: str, expectations: dict[str, str]) -> bool:
        return outputs == expectations["a"]

    result = mlflow.genai.evaluate(data=rows, predict_fn=answer, scorers=[exact])
    assert result.metrics["exact/mean"] == 1.0
    datasets.delete_dataset(dataset_id=made.dataset_id)
    refused("RESOURCE_DOES_NOT_EXIST", datasets.get_dataset, dataset_id=made.dataset_id)


@journey
def scorers_are_registered_by_version(client: MlflowClient, name: str) -> None:
    experiment = client.create_experiment(name)
    store = client._tracking_client.store
    first = store.register_scorer(experiment, "exact", '{"a": 1}')
    second = store.register_scorer(experiment, "exact", '{"a": 2}')
    assert (first.scorer_version, second.scorer_version) == (1, 2)
    assert [s.scorer_version for s in store.list_scorers(experiment)] == [2]
    assert [s.scorer_version for s in store.list_scorer_versions(experiment, "exact")] == [1, 2]
    store.delete_scorer(experiment, "exact", 2)
    assert store.get_scorer(experiment, "exact").scorer_version == 1
    refused("RESOURCE_DOES_NOT_EXIST", store.get_scorer, experiment, "exact", 2)


@journey
def calls_that_the_client_hides_are_answered(client: MlflowClient, name: str) -> None:
    experiment = mlflow.set_experiment(name).experiment_id
    run = client.create_run(experiment).info.run_id
    described = {"artifact_path": "m", "flavors": {}, "utc_time_created": "now", "run_id": run}
    for _ in range(2):
        ask(
            "POST",
            "2.0/mlflow/runs/log-model",
            json={"run_id": run, "model_json": json.dumps(described)},
        )
    history = json.loads(client.get_run(run).data.tags["mlflow.log-model.history"])
    assert [each["artifact_path"] for each in history] == ["m", "m"]
    model = client.create_logged_model(experiment, name="m")
    mlflow.store.artifact.artifact_repository_registry.get_artifact_repository(
        model.artifact_location
    ).log_artifact(__file__, "code")
    listed = ask(
        "GET",
        f"2.0/mlflow/logged-models/{model.model_id}/artifacts/directories",
        params={"artifact_directory_path": "code"},
    )
    assert [each["path"] for each in listed["files"]] == [f"code/{Path(__file__).name}"]
    assert listed["root_uri"] == model.artifact_location
    with mlflow.start_span("ask") as span:
        pass
    mlflow.flush_trace_async_logging()
    path = f"3.0/mlflow/traces/{span.trace_id}/tags"
    ask("PATCH", path, json={"key": "a", "value": "b"})
    infos = client._tracking_client.store.batch_get_trace_infos([span.trace_id, "tr-none"])
    assert [info.tags["a"] for info in infos] == ["b"]
    ask("DELETE", path, json={"key": "a"})
    for version in ("1", "2", "2"):
        linked = [{"name": "greet", "version": version}]
        body = {"trace_id": span.trace_id, "prompt_versions": linked}
        ask("POST", "2.0/mlflow/traces/link-prompts", json=body)
    tags = client._tracking_client.store.get_trace_info(span.trace_id).tags
    assert "a" not in tags
    assert [each["version"] for each in json.loads(tags["mlflow.linkedPrompts"])] == ["1", "2"]
    for version, count in (("2", 1), ("3", 0)):
        found = client.search_traces([experiment], f"prompt = 'greet/{version}'")
        assert len(found) == count
    body = {"experiment_id": experiment, "request_ids": [span.trace_id]}
    assert int(ask("POST", "3.0/mlflow/traces/delete-traces", json=body)["traces_deleted"]) == 1
    for call in ("upload", "download"):
        refused(
            "INVALID_PARAMETER_VALUE",
            ask,
            "POST",
            f"2.0/mlflow/artifacts/presigned-{call}-url",
            json={"run_id": run, "path": "a"},
        )


@journey
def credentials_of_both_kinds_are_accepted(client: MlflowClient, name: str) -> None:
    for given in (
        {"MLFLOW_TRACKING_TOKEN": "any-token"},
        {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "lovelace"},
    ):
        os.environ.update(given)
        try:
            assert client.get_experiment("0").name == "Default"
        finally:
            for key in given:
                del os.environ[key]


@journey
def params_of_a_logged_model_are_typed(client: MlflowClient, name: str) -> None:
    experiment = client.create_experiment(name)
    store = client._tracking_client.store
    model = store.create_logged_model(experiment, params=[LoggedModelParameter("a", "1")])
    assert model.name
    assert model.params == {"a": "1"}
    assert model.artifact_location.endswith(f"{model.model_id}/artifacts")


def main() -> None:
    url, *names = sys.argv[1:]
    warnings.simplefilter("ignore")
    mlflow.set_tracking_uri(url)
    client = MlflowClient(url)
    tell(
        names or JOURNEYS,
        lambda name: JOURNEYS[name](client, f"{name}-{time.time_ns():x}"),
        version=mlflow.__version__,
        failed=mlflow.end_run,
    )


if __name__ == "__main__":
    main()
