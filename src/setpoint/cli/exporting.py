"""``setpoint export version``: one version, as another system takes it."""

from pathlib import Path

import click

from setpoint.artifacts.store import open_store
from setpoint.cli.console import backend, home_option, json_option, say
from setpoint.models import store as models
from setpoint.models.entities import ModelVersion
from setpoint.packaging.exports import KINDS, Wanted, export
from setpoint.packaging.traffic import alone, traffic_of
from setpoint.packaging.versions import version_of
from setpoint.serve import store as serving

#: Systems that are told how a release shares requests out; the others take one version.
_SHARED = {"kubernetes", "kserve", "seldon", "sagemaker"}


@click.command(
    "version",
    epilog="Examples: setpoint export version churn --to kubernetes --image "
    "registry.example/team/churn ./deploy    setpoint export version churn:3 --to onnx churn.onnx",
)
@home_option
@json_option
@click.argument("model", metavar="MODEL[@ALIAS|:NUMBER]")
@click.option("--to", "kind", type=click.Choice(list(KINDS)), required=True)
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--image", help="Where setpoint build pushes; kubernetes, kserve, sagemaker.")
@click.option("--gateway", default="gateway", show_default=True, help="Of the route; kubernetes.")
@click.option("--grpc", is_flag=True, help="Images are built --with grpc; kubernetes.")
@click.option("--storage", help="Address where the models will be; seldon.")
@click.option("--role", help="ARN that SageMaker runs it as; sagemaker.")
def version(
    *,
    home: str | None,
    as_json: bool,
    model: str,
    kind: str,
    path: Path | None,
    image: str | None,
    gateway: str,
    grpc: bool,
    storage: str | None,
    role: str | None,
) -> None:
    """Write a version for Kubernetes, KServe, Seldon and others, or as ONNX.

    MODEL alone is its live version; while a release is in progress, the manifests share requests
    out as it does now. PATH is a folder, MODEL-KIND by default.
    """
    ours = backend(home)
    found = version_of(ours, model)
    with ours.reading() as conn:

        def find(number: int) -> ModelVersion:
            return models.get(conn, found.model, number)

        deployed = serving.deployments(conn, found.model)
        shared = kind in _SHARED
        traffic = traffic_of(found, deployed, find) if shared else alone(found)
    default = f"{found.model}-{found.number}.onnx" if kind == "onnx" else f"{found.model}-{kind}"
    wanted = Wanted(image=image, gateway=gateway, grpc=grpc, storage=storage, role=role)
    done = export(kind, traffic, open_store(ours.settings), path or Path(default), wanted)
    versions = ", ".join(str(number) for number in done.versions)
    text = f"wrote {done.model} version{'s' * (len(done.versions) > 1)} {versions} to {done.path}"
    say("\n".join([text, *(f"  {name}" for name in done.files)]), done, as_json=as_json)
