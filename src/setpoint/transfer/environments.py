"""What a folder that is handed out runs in, told by the files that MLflow 3.17 writes itself."""

import platform
from collections.abc import Iterable
from functools import cache
from importlib import metadata

import yaml

_CONDA, _VIRTUALENV, _REQUIREMENTS = "conda.yaml", "python_env.yaml", "requirements.txt"
#: The releases that folders are tried with; it is not installed here, so none is the right one.
MLFLOW = "mlflow>=3.14,<4"


@cache
def pinned(name: str) -> str:
    """Return a requirement of the release that is installed here; of any, if none is.

    An index has no local versions, such as 2.13.0+cpu: what it has is 2.13.0.
    """
    try:
        return f"{name}=={metadata.version(name).partition('+')[0]}"
    except metadata.PackageNotFoundError:
        return name


def environment(required: Iterable[str]) -> dict[str, bytes]:
    """Return the files by name from which conda, virtualenv, uv and pip make an environment."""
    wanted = list(required)
    version = platform.python_version()
    conda = {
        "channels": ["conda-forge"],
        "dependencies": [f"python={version}", "pip", {"pip": wanted}],
        "name": "mlflow-env",
    }
    virtualenv = {
        "python": version,
        "build_dependencies": ["pip", "setuptools", "wheel"],
        "dependencies": [f"-r {_REQUIREMENTS}"],
    }
    return {
        _CONDA: yaml.safe_dump(conda, sort_keys=False).encode(),
        _VIRTUALENV: yaml.safe_dump(virtualenv, sort_keys=False).encode(),
        _REQUIREMENTS: "\n".join([*wanted, ""]).encode(),
    }


def described() -> dict[str, object]:
    """Return what MLmodel says of these files, and of Python: MLflow warns of any other."""
    return {
        "python_version": platform.python_version(),
        "env": {"conda": _CONDA, "virtualenv": _VIRTUALENV},
    }
