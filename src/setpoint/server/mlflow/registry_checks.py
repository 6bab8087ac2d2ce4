"""What MLflow's registry refuses, in the words its clients expect."""

import re

from setpoint.server.mlflow import checks
from setpoint.server.mlflow.errors import MISSING, Refused, missing

_ALIAS = re.compile(r"[\w-]*")
_NUMBERED = re.compile(r"[vV]\d+")
_ALIAS_LENGTH = 255
_TAG = 100_000
_STAGES = "None, Staging, Production, Archived"


def model_name(name: str, parameter: str = "name") -> None:
    """Refuse what can be no model's name."""
    if not name.strip():
        raise missing(parameter)
    if "/" in name or ":" in name:
        raise Refused(f"Invalid model name '{name}'. Names cannot contain '/' or ':'.")
    if name != name.strip() or name in {".", ".."}:
        raise Refused(f"Invalid model name '{name}'. Names are used in paths.")


def number(version: str) -> int:
    """Return the number of a version."""
    try:
        return int(version)
    except ValueError:
        raise Refused(f"Parameter 'version' must be an integer, got '{version}'.") from None


def tag(key: str, value: str) -> None:
    """Refuse a tag's name or a value that is too long."""
    checks.tag(key, value, "", _TAG)


def alias(name: str, *, new: bool = False) -> None:
    """Refuse what can be no alias; a new one may not mean something already."""
    if not name:
        raise Refused("Registered model alias name cannot be empty.")
    if not _ALIAS.fullmatch(name):
        raise Refused(
            f"Invalid alias name: '{name}'. Names may only contain alphanumerics, "
            "underscores (_), and dashes (-)."
        )
    checks.length("Registered model alias name", name, _ALIAS_LENGTH)
    if new and name.lower() == "latest":
        raise Refused("'latest' alias name (case insensitive) is reserved.")
    if new and _NUMBERED.fullmatch(name):
        raise Refused(f"Version alias name '{name}' is reserved.")


def stage(text: str) -> Refused:
    """Return the refusal of a stage that there is not."""
    return Refused(f"Invalid Model Version stage: {text}. Value must be one of {_STAGES}.")


def no_model(name: str) -> Refused:
    """Return the refusal of a model that is not there."""
    return Refused(f"Registered Model with name={name} not found", MISSING)


def no_version(name: str, version: str | int) -> Refused:
    """Return the refusal of a version that is not there."""
    return Refused(f"Model Version (name={name}, version={version}) not found", MISSING)
