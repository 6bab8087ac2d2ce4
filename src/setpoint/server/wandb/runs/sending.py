"""Where the files of a run are sent, and which of them are deleted."""

from typing import Any

from setpoint.runs import service
from setpoint.runs.commands import Forget
from setpoint.server.wandb.files import RunFile, run_url, safe
from setpoint.server.wandb.runs.changes import one
from setpoint.server.wandb.scope import Scope, from_id, project_of


def create_files(scope: Scope, fields: dict[str, Any]) -> dict[str, Any]:
    """Tell where files of a run are sent."""
    known = one(scope, fields["entity_name"], fields["project_name"], fields["run_name"])
    entity, project = project_of(known.experiment)
    paths = [safe(path) for path in fields["files"]]
    urls = [run_url(scope.base, entity, project, known.name, path) for path in paths]
    files = [
        RunFile(id="", name=path, direct_url=url, upload_url=url)
        for path, url in zip(paths, urls, strict=True)
    ]
    return {"run_id": known.run_id, "upload_headers": [], "files": files}


def files_uploaded(scope: Scope, fields: dict[str, Any]) -> dict[str, Any]:
    """Hear that files have been sent. They are kept as they arrive."""
    one(scope, fields["entity_name"], fields["project_name"], fields["run_name"])
    return {"success": True}


def delete_files(scope: Scope, fields: dict[str, Any]) -> dict[str, Any]:
    """Take files from their runs."""
    gone: dict[str, list[str]] = {}
    for found in fields["files"]:
        run_id, _, path = from_id("File", found).partition("/")
        gone.setdefault(run_id, []).append(path)
    for run_id, paths in gone.items():
        service.forget(scope.ctx, Forget(run=run_id, artifacts=paths))
    return {"success": True}


CHANGES = {
    "createRunFiles": create_files,
    "markRunFilesUploaded": files_uploaded,
    "deleteFiles": delete_files,
}
