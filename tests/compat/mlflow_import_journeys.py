"""Runs in the environment of MLflow: writes runs to a store, or tells what is in one."""

import json
import sys

import mlflow
from mlflow.tracking import MlflowClient
from sklearn.dummy import DummyRegressor


def write_models() -> None:
    """Register versions of what a run logged, of what is elsewhere, and a prompt."""
    client = MlflowClient()
    mlflow.set_experiment("späte Flüge/1")
    with mlflow.start_run(run_name="trained") as run:
        mlflow.log_text("weights", "own/model.txt")
        model = DummyRegressor(strategy="constant", constant=7.0).fit([[0]], [0])
        needs = ["scikit-learn"]  # said, so that it is not found out
        info = mlflow.sklearn.log_model(model, name="net", pip_requirements=needs)
    client.create_registered_model("late's", tags={"team": "ops"}, description="of flights")
    uri = f"{run.info.artifact_uri}/own"
    client.create_model_version("late's", uri, run_id=run.info.run_id, description="first")
    client.create_model_version("late's", "s3://bucket/gone", tags={"kind": "elsewhere"})
    client.delete_model_version("late's", "2")
    mlflow.register_model(info.model_uri, "late's", tags={"kind": "logged"})
    client.transition_model_version_stage("late's", "1", "Archived")
    client.set_registered_model_alias("late's", "champion", "3")
    mlflow.genai.register_prompt(name="greet", template="Hello {{who}}!")


def tell_models() -> None:
    client = MlflowClient()
    for model in client.search_registered_models():
        for version in client.search_model_versions(f'name = "{model.name}"'):
            told = {
                "model": model.name,
                "tags": {**model.tags, **version.tags},
                "description": version.description,
                "stage": version.current_stage,
                "run": version.run_id,
                "files": _under(client.get_model_version_download_uri(model.name, version.version)),
            }
            sys.stdout.write(f"version {json.dumps(told)}\n")
    loaded = mlflow.pyfunc.load_model("models:/late's@champion")
    sys.stdout.write(f"loaded {json.dumps({'found': loaded.predict([[1], [2]]).tolist()})}\n")
    prompt = mlflow.genai.load_prompt("prompts:/greet/1")
    sys.stdout.write(f"prompt {json.dumps({'template': prompt.template})}\n")


def _under(uri: str) -> list[str]:
    return sorted(item.path for item in mlflow.artifacts.list_artifacts(uri))


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
{
    "write": write,
    "tell": tell,
    "write-models": write_models,
    "tell-models": tell_models,
}[sys.argv[1]]()
