"""The files of a version: its own, or those of the run or logged model it was registered from."""

import re
from collections.abc import Iterator
from urllib.parse import quote, unquote, urlsplit

from msgspec import Struct

from setpoint.artifacts.store import open_store
from setpoint.errors import NotFound
from setpoint.models.entities import ModelVersion
from setpoint.models.service import Which, get
from setpoint.runs.entities import Artifact
from setpoint.runs.service import ListArtifacts, artifacts
from setpoint.server.mlflow import store as files
from setpoint.server.mlflow.files import of_run
from setpoint.server.mlflow.logged import store as logged
from setpoint.server.ui.page import Ask
from setpoint.server.ui.pages import previews

_SHOWN = 200  #: files in a list
_DEEP = 10  #: versions made of versions
_VERSION = re.compile(r"/?(?P<name>[^/@]+)/(?P<number>\d+)$")
_LOGGED = re.compile(r"/?(?P<id>m-[^/]+)$")
#: How MLflow's clients call the rows that a model was logged with, best first.
_EXAMPLES = ("serving_input_example.json", "input_example.json")


class File(Struct, frozen=True, kw_only=True):
    """One file of a version."""

    path: str
    what: str  #: in words, of its own files; else empty
    url: str  #: where its bytes are
    size: int | None  #: bytes; None: it is gone
    address: str


class Files(Struct, frozen=True, kw_only=True):
    """All files of a version that are here."""

    files: list[File]
    more: int  #: files beyond those shown
    bytes: int
    example: previews.Preview | None  #: rows that it takes
    looked: previews.Preview | None  #: the one that was asked for


def of(ask: Ask, version: ModelVersion) -> Files:
    """Return the files of a version, and a look at the one that the address names."""
    found = list(_own(ask, version) if version.trained_here else _elsewhere(ask, version))
    path = ask.query.get("file", "")
    wanted = next((each for each in found if each.path == path), None)
    example = next(
        (each for name in _EXAMPLES for each in found if each.path.rpartition("/")[2] == name), None
    )
    missing = previews.looked(ask, path, "", None) if path else None
    return Files(
        files=found[:_SHOWN],
        more=max(0, len(found) - _SHOWN),
        bytes=sum(each.size or 0 for each in found),
        example=None if example is None else _look(ask, example),
        looked=missing if wanted is None else _look(ask, wanted),
    )


def _look(ask: Ask, file: File) -> previews.Preview:
    artifact = Artifact(address=file.address, size=file.size or 0)
    return previews.looked(ask, file.path, file.url, artifact)


def _own(ask: Ask, version: ModelVersion) -> Iterator[File]:
    """Yield what is stored of a version that was trained here."""
    objects = open_store(ask.backend.settings)
    baseline = version.baseline
    known = (
        (f"model.{version.flavor}", _form(version), version.artifact),
        ("model.onnx", "compiled: what serves", version.onnx),
        ("reference", "profile of its training rows", version.reference),
        ("rows", "ids of its training rows", version.rows),
        ("background", "training rows to explain predictions by", version.background),
        ("spec.json", "the spec in force", version.spec),
        ("baseline", "answers when it cannot", baseline and (baseline.onnx or baseline.artifact)),
        ("signature.json", "Sigstore bundle", version.signed and version.signed.bundle),
    )
    for path, what, address in known:
        if address:
            size = objects.size(address) if objects.has(address) else None
            yield File(path=path, what=what, url=f"/objects/{address}", size=size, address=address)


def _form(version: ModelVersion) -> str:
    return "its nodes, and the versions that they are" if version.parts else "as it was trained"


def _elsewhere(ask: Ask, version: ModelVersion) -> Iterator[File]:
    """Yield the files that a version was registered with, as far as they are here."""
    folder = _folder(ask, version)
    if not folder:
        return
    for path, found in sorted(_under(ask, folder).items()):
        yield File(
            path=path,
            what="",
            url=f"/api/2.0/mlflow-artifacts/artifacts/{quote(f'{folder}/{path}')}",
            size=found.size,
            address=found.address,
        )


def _folder(ask: Ask, version: ModelVersion) -> str:
    """Return the folder of the artifact store that a version's source means; empty: not ours."""
    found = version
    for _ in range(_DEEP):
        parts = urlsplit(found.source)
        path = unquote(parts.path).strip("/")
        if parts.scheme == "mlflow-artifacts":
            return path
        if parts.scheme == "runs":
            run, _, within = path.partition("/")
            return f"0/{run}/artifacts/{within}".rstrip("/")  # of a run its id alone counts
        if parts.scheme != "models":
            return ""
        if named := _LOGGED.match(path):
            models = ask.read(logged.find, [named["id"]])
            return urlsplit(models[0].location).path.strip("/") if models else ""
        origin = _VERSION.match(path)
        if origin is None:
            return ""
        try:
            which = Which(model=origin["name"], number=int(origin["number"]))
            found = ask.call(get, which)
        except NotFound:
            return ""
    return ""


def _under(ask: Ask, folder: str) -> dict[str, Artifact]:
    """Return the files below a folder of the artifact store, by their path within it."""
    run, within = of_run(folder)
    try:
        listed = ask.call(artifacts, ListArtifacts(run=run, under=within)).artifacts if run else {}
    except NotFound:
        listed = {}
    if listed:
        prefix = f"{within}/" if within else ""
        return {path.removeprefix(prefix): each for path, each in listed.items()}
    found = ask.read(files.files_under, folder)
    return {path.removeprefix(f"{folder}/"): each for path, each in found.items()}
