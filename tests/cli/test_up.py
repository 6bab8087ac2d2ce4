"""`setpoint up`: starts, stops, crashes, refuses; a changed function becomes a release."""

import json
import shutil
import signal
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

import grpc
import joblib
import polars as pl
import psutil
import pytest
from sklearn.linear_model import LogisticRegression
from tests.cli.running import free_ports, setpoint, until, up
from tests.serve.test_workers import doors as of_workers

from setpoint.config import settings
from setpoint.serve.client import Inference
from setpoint.serve.siblings import Door

ROW = {
    "tenure_months": 3.0, "monthly_fee": 10.0, "logins_30d": 2.0, "support_tickets_90d": 1.0,
    "days_since_login": 3.0, "fee_per_login": 3.3, "plan_churn_90d": 0.3,
}  # fmt: skip


@pytest.fixture
def store(applied: Path, tmp_path: Path) -> Path:
    """A store of its own with a live version, as a folder to run in."""
    shutil.copytree(applied / ".setpoint", tmp_path / ".setpoint")
    return tmp_path


def test_it_serves_and_stops_cleanly_by_ctrl_c(store: Path) -> None:
    with up(store) as platform:
        until(lambda: platform.serves("churn"), "churn served")
        answer = platform.client.predict("churn", {k: [v, v] for k, v in ROW.items()})
        assert answer.versions == [1, 1]
        inference = platform.inference()
        assert platform.stop() == ""
        assert platform.process.returncode == 0
        assert not inference.is_running()
    with up(store):
        pass  # and it starts again


def test_it_answers_clients_of_grpc_where_it_is_told_to(store: Path) -> None:
    port = free_ports()[0]
    with up(store, "--grpc-port", str(port)) as platform:
        until(lambda: platform.serves("churn"), "churn served")
        channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        ready = channel.unary_unary("/inference.GRPCInferenceService/ModelReady")
        assert ready(b"\n\x05churn", timeout=10) == b"\x08\x01"  # the name, and: true
        channel.close()
        again = setpoint(store.parent, "up", "--grpc-port", str(port), "--home", "other")
        assert again.returncode != 0
        assert f"port {port} on 127.0.0.1 is taken" in again.stderr
        assert "--grpc-port" in again.stderr


def test_several_processes_answer_where_it_is_told_to(store: Path) -> None:
    with up(store, "--workers", "2") as platform:
        until(lambda: platform.serves("churn"), "churn served")
        inference = platform.inference()
        workers = [one for one in inference.children() if "--worker" in one.cmdline()]
        assert len(workers) == 2
        platform.client.predict("churn", {k: [v] for k, v in ROW.items()}, ids=["x"])
        until(lambda: why(store, "x"), "what a worker wrote is followed")
        platform.process.send_signal(signal.SIGKILL)
        platform.process.wait()
        psutil.wait_procs(workers, 10)
        assert not any(one.is_running() for one in workers)
    with up(store, "--workers", "3") as platform:
        until(lambda: platform.serves("churn"), "churn served")
        assert platform.stop() == ""
    refused = setpoint(store, "up", "--workers", "0")
    assert refused.returncode != 0
    assert "no number of worker processes" in refused.stderr


def test_several_processes_share_the_memory_for_models(store: Path) -> None:
    beside(store, "other")
    with up(store, "--workers", "2", "--model-memory", "1KB") as platform:  # less than any model
        until(lambda: len(doors(store)) == 2, "both workers answer")
        workers = [one for one in platform.inference().children() if "--worker" in one.cmdline()]
        words = [one.cmdline() for one in workers]
        assert [said[said.index("--model-memory") + 1] for said in words] == ["500", "500"]
        for door in doors(store).values():
            with closing(Inference(f"http://{door.host}:{door.port}")) as worker:
                assert worker.predict("churn", {k: [v] for k, v in ROW.items()}).versions == [1]
                assert worker.predict("other", {"a": [1.0], "b": [0.0]}).versions == [1]
        held = metrics(platform.url)
        assert held['model_loads_total{model="churn"}'] == 2
        assert held['model_evictions_total{model="churn"}'] == 2
        assert held["models_in_memory"] == 1, "the one that was asked last, in each of them"
        assert not any(name.startswith('model_memory_bytes{model="churn"') for name in held)
        before = set(doors(store))
        psutil.Process(doors(store)[min(before)].pid).kill()
        until(lambda: len(doors(store)) == 2 and set(doors(store)) != before, "another one began")
        now = metrics(platform.url)
        taken = 'model_memory_bytes{model="other",version="1"}'
        assert 0 < now[taken] < held[taken], "what was killed holds nothing"
        assert now['model_loads_total{model="other"}'] == 2, "and what it counted is kept"
    refused = setpoint(store, "up", "--model-memory", "much")
    assert refused.returncode != 0
    assert "'much' is no size" in refused.stderr


def beside(store: Path, model: str) -> None:
    """Put another small model live in a store."""
    rows = pl.DataFrame({"a": [0.0, 1.0] * 20, "b": [1.0, 0.0] * 20})
    rows.write_csv(store / "rows.csv")
    fitted = LogisticRegression().fit(rows.to_numpy(), [0, 1] * 20)
    joblib.dump(fitted, store / f"{model}.joblib")
    added = ("models", "add", model, f"{model}.joblib", "--example", "rows.csv", "--trust")
    for words in (added, ("releases", "deploy", model, "1", "--reason", "beside the other")):
        done = setpoint(store, *words)
        assert done.returncode == 0, done.stderr


def doors(store: Path) -> dict[str, Door]:
    """Return where each worker is asked, by its name."""
    return of_workers(settings(str(store / ".setpoint")))


def metrics(url: str) -> dict[str, float]:
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as reply:  # noqa: S310 - loopback
        lines = reply.read().decode().splitlines()
    told = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name.removeprefix("setpoint_"): float(value) for name, _, value in told}


def why(store: Path, row: str) -> bool:
    return setpoint(store, "why", row).returncode == 0


def test_it_takes_the_spans_of_its_own_inference(store: Path) -> None:
    ports = free_ports()
    told = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{ports[0]}",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-mlflow-experiment-id=0",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    trace = "0af7651916cd43dd8448eb211c80319c"

    with up(store, ports=ports, environment=told) as platform:
        until(lambda: platform.serves("churn"), "churn served")
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{platform.url}/v2/models/churn/infer",
            json.dumps(
                {
                    "inputs": [
                        {"name": k, "shape": [1], "datatype": "FP64", "data": [v]}
                        for k, v in ROW.items()
                    ]
                }
            ).encode(),
            {"traceparent": f"00-{trace}-b7ad6b7169203331-01"},
        )
        with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310
            assert reply.headers["traceparent"].split("-")[1] == trace

        def kept() -> list[str]:
            url = f"{platform.pages}/api/3.0/mlflow/traces/get?allow_partial=true&trace_id=tr-"
            try:
                with urllib.request.urlopen(url + trace, timeout=5) as found:  # noqa: S310
                    return [span["name"] for span in json.load(found)["trace"]["spans"]]
            except urllib.error.HTTPError:
                return []  # not there yet

        wanted = {"POST /v2/models/{model}/infer", "setpoint.score"}
        until(lambda: wanted <= set(kept()), "the trace kept", 20)


def test_a_killed_platform_leaves_no_orphan_and_the_next_one_works(store: Path) -> None:
    with up(store) as platform:
        inference = platform.inference()
        platform.process.send_signal(signal.SIGKILL)
        platform.process.wait()
        until(lambda: not inference.is_running(), "the end of inference", 3.0)
    with up(store) as platform:
        until(lambda: platform.serves("churn"), "churn served")


def test_a_killed_inference_process_is_started_again(store: Path) -> None:
    with up(store) as platform:
        first = platform.inference()
        first.kill()
        psutil.wait_procs([first], 5)
        until(platform.healthy, "healthy again")
        until(lambda: platform.serves("churn"), "churn served")
        assert platform.inference().pid != first.pid
        assert "inference ended with -9; starting it again" in platform.stop()


def test_what_cannot_be_is_refused_in_one_line(store: Path, tmp_path: Path) -> None:
    a, b = (str(port) for port in free_ports())
    with up(store) as platform:
        port = platform.pages.rpartition(":")[2]
        second = setpoint(store, "up", "--port", a, "--inference-port", b)
        taken = setpoint(store, "up", "--home", "other", "--port", port, "--inference-port", b)
    assert (second.returncode, second.stdout) == (4, "")
    assert f"is already up (process {platform.process.pid})" in second.stderr
    assert (taken.returncode, taken.stdout) == (4, "")
    assert f"port {port} on 127.0.0.1 is taken" in taken.stderr
    refused = setpoint(store, "up", "--home", "/proc/nowhere", "--port", a)
    assert (refused.returncode, refused.stdout) == (6, "")
    assert "cannot write to /proc/nowhere" in refused.stderr
    assert "Traceback" not in second.stderr + taken.stderr + refused.stderr


def test_a_changed_function_becomes_a_release_while_it_runs(project: Path) -> None:
    spec = project / "churn.setpoint.yaml"
    spec.write_text(spec.read_text().replace("500 requests", "60 requests"))
    with up(project) as platform:
        applied = setpoint(project, "apply", "--json")  # the running platform does the work
        assert applied.returncode == 0, applied.stderr
        assert json.loads(applied.stdout)["models"][0]["live"] == 1
        until(lambda: platform.serves("churn"), "churn served")
        code = project / "churn.py"
        code.write_text(code.read_text().replace("max_iter=1000", "max_iter=2000, C=0.8"))
        changed = setpoint(project, "apply", "--json")
        assert changed.returncode == 0, changed.stderr
        (model,) = json.loads(changed.stdout)["models"]
        assert model["release"]["version"] == 2
        assert model["release"]["stage"] == "shadow"
        _send(platform.client, 400)
        until(lambda: _stage(project) == "canary", "the canary stage", 30)


def _stage(folder: Path) -> str:
    (found,) = json.loads(setpoint(folder, "status", "--json").stdout)["models"]
    release = found["release"]
    return str(release["stage"]) if release else ""


def _send(client: Inference, requests: int) -> None:
    for number in range(requests):
        row = {**ROW, "tenure_months": float(number % 50)}
        client.predict("churn", {name: [value] for name, value in row.items()})
