"""Versions that were trained here, where MLflow's client looks for the files of a version.

Their folders are nowhere: each file is made when it is asked for, or is an object of the
version's. So they cost nothing, and go with the version.
"""

import re
from urllib.parse import quote, unquote

from setpoint.models.entities import ModelVersion
from setpoint.models.registry import commands, service
from setpoint.runs.entities import Artifact
from setpoint.server.mlflow.errors import Refused
from setpoint.server.mlflow.routing import Call
from setpoint.transfer import pyfunc

_OURS = re.compile(r"(?P<folder>setpoint/(?P<model>[^/]+)/(?P<number>\d+))(?:/.*)?")


def location(version: ModelVersion) -> str:
    """Return where MLflow's client finds the files of a version.

    Raises:
        Refused: If only Setpoint can load it.
    """
    if not pyfunc.folder(version):
        raise Refused(
            f"Version {version.number} of {version.model} is kept as a {version.flavor} pickle "
            "and has no compiled form that others could load. Load it with Setpoint, or serve it."
        )
    return f"mlflow-artifacts:/setpoint/{quote(version.model)}/{version.number}"


def owns(path: str) -> bool:
    """Tell whether a path is in the folder of such a version."""
    return _OURS.fullmatch(path) is not None


def files(call: Call, path: str) -> dict[str, Artifact | bytes]:
    """Return the files of the version that a path is of, by their whole paths.

    Raises:
        NotFound: If there is no such version.
    """
    found = _OURS.fullmatch(path)
    if found is None:
        return {}
    # Clients send the path of the URI as it is, quoted once more or not.
    model = unquote(found["model"])
    asked = commands.OneVersion(model=model, number=int(found["number"]))
    version = call.run(service.version, asked).version
    return {f"{found['folder']}/{name}": each for name, each in pyfunc.folder(version).items()}
