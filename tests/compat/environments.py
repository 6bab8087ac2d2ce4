"""The environments of foreign clients, one folder each under ``.compat``.

Their packages pin what ours don't, so each client has an environment of its own:
``python -m tests.compat.environments [NAME…]`` makes those that are missing, with the newest
release of the client that its line allows.
"""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".compat"
_OURS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]

#: What is installed beside each client, with the reason.
CLIENTS: dict[str, tuple[str, ...]] = {
    "mlflow": (
        "mlflow>=3.14,<4",
        "scikit-learn",  # autologging, log_model
        "xgboost-cpu",  # autologging; the build without CUDA
        "lightgbm",  # autologging
        "onnxruntime",  # versions that Setpoint trained
        "psutil",  # system metrics
        "opentelemetry-exporter-otlp-proto-http",  # traces of what is not MLflow
    ),
    "wandb": (
        "wandb>=0.31,<0.32",
        "numpy",
        "pillow",  # images
    ),
    "inference": (
        "tritonclient[http,grpc]",  # V2, and its binary tensors
        "kserve",  # V1 and V2
        "boto3",  # SageMaker's runtime
        "cloudevents",
    ),
    # TensorFlow Serving's stubs without TensorFlow, of the time when they needed this protobuf.
    "tensorflow": ("min-tfs-client", "protobuf<3.21", "numpy<3"),
    "aws": (
        "boto3",  # checks what it is told before it sends it
        "moto",  # answers as SageMaker does
    ),
    "bentoml": ("bentoml>=1.4,<2", "pandas", "onnxruntime"),
    # Asks whatever an OpenAPI document allows, and what it does not: `make hostile`.
    "schemathesis": ("schemathesis>=4.32,<5",),
    # Mutates bytes by what of the code they reach: `make hostile`. Needs no more than its wheel.
    "atheris": ("atheris>=3,<4", *_OURS),
    # Frameworks for deep learning: they log to MLflow's client, and to ours by its callbacks.
    "frameworks": (
        "torch==2.13.0",  # of which there is a build without CUDA
        "lightning",
        "keras",  # trains on torch
        "tensorboard",  # whose writer MLflow listens to
        "mlflow>=3.14,<4",
        "nvidia-ml-py",  # a run's GPUs
        # Flavors of models
        "catboost",
        "xgboost-cpu",
        "transformers",
        "onnxscript",  # torch to ONNX
        "pandas",  # of catboost and MLflow
        *_OURS,  # Setpoint itself is read from src/
    ),
    # Folders of TensorFlow, which brings protobuf and NumPy of its own choice.
    "savedmodel": ("tensorflow-cpu", *_OURS),
}

#: Where to find the build of torch without CUDA stands in pip's settings, which uv does not read.
_BY_PIP = {"frameworks"}


def python_of(name: str) -> Path:
    """Return where the interpreter of a client's environment is, if it is there."""
    return FOLDER / name / "bin" / "python"


def needed(name: str) -> Path:
    """Return that interpreter, or skip the test with what to do."""
    if not _stamp(name).exists():
        pytest.skip(f"the {name} client is not installed: make compat")
    return python_of(name)


def build(name: str, packages: tuple[str, ...] = ()) -> None:
    """Make the environment of one client, if it is missing or another one is asked for."""
    stamp = _stamp(name)
    wanted = packages or CLIENTS[name]
    asked = "\n".join(wanted)
    if stamp.exists() and stamp.read_text() == asked:
        return
    sys.stdout.write(f"compat: installing {wanted[0]}\n")
    sys.stdout.flush()
    shutil.rmtree(FOLDER / name, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", FOLDER / name], check=True)
    _install(python_of(name), wanted, by_uv=name not in _BY_PIP)
    stamp.write_text(asked)


def _install(python: Path, wanted: tuple[str, ...], *, by_uv: bool) -> None:
    """Install with uv, which takes a fifth of the time, or with pip where it may not or fails."""
    uv = ["uv", "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)]
    pip = ["pip", "--disable-pip-version-check", "--python", str(python), "install", "-qq"]
    if by_uv and not subprocess.run([sys.executable, "-m", *uv, *wanted], check=False).returncode:
        return
    subprocess.run([sys.executable, "-m", *pip, *wanted], check=True)


def _stamp(name: str) -> Path:
    return FOLDER / name / ".installed"


if __name__ == "__main__":
    for wanted in sys.argv[1:] or CLIENTS:
        build(wanted)
