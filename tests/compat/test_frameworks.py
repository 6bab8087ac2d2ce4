"""Frameworks for deep learning, which log by MLflow's client and by ours."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.compat.conftest import client, running, stories
from tests.compat.environments import ROOT, needed

HERE = Path(__file__).parent
MLFLOW = HERE / "mlflow_frameworks_journeys.py"
OURS = tuple(
    HERE / f"{name}_journeys.py" for name in ("sdk_torch", "sdk", "flavor", "flavor_mlflow")
)
SAVED = HERE / "savedmodel_journeys.py"


def _names(*scripts: Path) -> list[str]:
    text = "".join(script.read_text() for script in scripts)
    return re.findall(r"^@journey\ndef (\w+)\(", text, re.MULTILINE)


@pytest.fixture(scope="module")
def told_by_mlflow(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    needed("frameworks")
    home = tmp_path_factory.mktemp("frameworks")
    with running(home, f"sqlite:///{home / 'setpoint.db'}") as server:
        return stories(client("frameworks", MLFLOW, server.url, folder=home))


@pytest.fixture(scope="module")
def told_by_ours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    home = tmp_path_factory.mktemp("callbacks")
    told = {}
    for script in OURS:
        said = client("frameworks", script, str(home), folder=home, PYTHONPATH=str(ROOT / "src"))
        told.update(stories(said))
    return told


@pytest.mark.long
@pytest.mark.parametrize("name", _names(MLFLOW))
def test_mlflow_tells_of_a_training(name: str, told_by_mlflow: dict[str, dict[str, Any]]) -> None:
    assert not told_by_mlflow[name]["error"], told_by_mlflow[name]["error"]


@pytest.mark.long
@pytest.mark.parametrize("name", _names(*OURS))
def test_our_callbacks_tell_of_a_training(
    name: str, told_by_ours: dict[str, dict[str, Any]]
) -> None:
    assert not told_by_ours[name]["error"], told_by_ours[name]["error"]


@pytest.fixture(scope="module")
def told_by_tensorflow(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    home = tmp_path_factory.mktemp("savedmodel")
    said = client("savedmodel", SAVED, str(home), folder=home, PYTHONPATH=str(ROOT / "src"))
    return stories(said)


@pytest.mark.long
@pytest.mark.parametrize("name", _names(SAVED))
def test_folders_of_tensorflow_are_served(
    name: str, told_by_tensorflow: dict[str, dict[str, Any]]
) -> None:
    assert not told_by_tensorflow[name]["error"], told_by_tensorflow[name]["error"]


@pytest.mark.long
def test_gpus_are_measured(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler, which makes a library of GPUs that are not here")
    library = ["-shared", "-fPIC", "-o", str(tmp_path / "libnvidia-ml.so.1")]
    subprocess.run([compiler, *library, str(HERE / "nvml.c")], check=True)
    paths = {"PYTHONPATH": str(ROOT / "src"), "LD_LIBRARY_PATH": str(tmp_path)}
    script = HERE / "sdk_gpu_journeys.py"
    told = stories(client("frameworks", script, str(tmp_path), folder=tmp_path, **paths))
    assert not told["gpus_are_measured_as_far_as_they_tell"]["error"]
