"""Runs in the environment of MLflow: writes runs to a store, or tells what is in one."""

import json
import sys

import mlflow
from mlflow.tracking import MlflowClient


def write() -> None:
    mlflow.set_experiment("späte Flüge/1")
    mlflow.set_experiment_tag("team", "ops")
    with mlflow.start_run(run_name="parent"):
        mlflow.log_params({"leaves": 31, "note": "x" * 300})
        mlflow.set_tag("kind", "sweep")
        for step in range(5):
            mlflow.log_metric("loss/val", 1 / (step + 1), step=step)
        mlflow.log_metric("odd", float("nan"), step=1)
        mlflow.log_metric("odd", float("inf"), step=2)
        mlflow.log_text("hello", "notes/hello.txt")
        with mlflow.start_run(run_name="child", nested=True):
            mlflow.log_metric("auc", 0.5)
    failed = mlflow.start_run(run_name="failed")
    mlflow.end_run("FAILED")
    mlflow.delete_run(failed.info.run_id)


def tell() -> None:
    client = MlflowClient()
    for experiment in client.search_experiments():
        for run in client.search_runs([experiment.experiment_id]):
            history = {
                name: [
                    [point.step, repr(point.value)]
                    for point in client.get_metric_history(run.info.run_id, name)
                ]
                for name in run.data.metrics
            }
            told = {
                "experiment": experiment.name,
                "name": run.info.run_name,
                "status": run.info.status,
                "params": run.data.params,
                "tags": run.data.tags,
                "history": history,
                "files": _files(run.info.run_id),
            }
            sys.stdout.write(f"run {json.dumps(told)}\n")


def _files(run: str) -> dict[str, str]:
    paths = mlflow.artifacts.list_artifacts(run_id=run)
    found = {}
    while paths:
        item = paths.pop()
        if item.is_dir:
            paths += mlflow.artifacts.list_artifacts(run_id=run, artifact_path=item.path)
        else:
            found[item.path] = mlflow.artifacts.load_text(f"runs:/{run}/{item.path}")
    return found


mlflow.set_tracking_uri(sys.argv[2])
{"write": write, "tell": tell}[sys.argv[1]]()
