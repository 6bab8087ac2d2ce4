"""``setpoint build``: a version as an image that serves it."""

from pathlib import Path

import click

from setpoint.artifacts.store import open_store
from setpoint.cli.console import backend, home_option, json_option, say
from setpoint.config import registry_logins
from setpoint.errors import Invalid
from setpoint.packaging import references
from setpoint.packaging.build import Wanted
from setpoint.packaging.build import build as build_image
from setpoint.packaging.entities import Built
from setpoint.packaging.extras import EXTRAS
from setpoint.packaging.logins import Login
from setpoint.packaging.versions import version_of
from setpoint.serve.store import settings_of


@click.command(
    epilog="Examples: setpoint build churn --to churn.tar    setpoint build churn:3 --to "
    "registry.example:5000/team/churn    setpoint build churn@candidate --to oci:./images "
    "--base docker.io/library/python:3.11-slim",
    short_help="Build a version as an OCI image, without Docker.",
)
@home_option
@json_option
@click.argument("model", metavar="MODEL[@ALIAS|:NUMBER]")
@click.option(
    "--to",
    metavar="PATH|IMAGE",
    help="Folder (an OCI layout), .tar (an archive) or image in a registry. "
    "Default: MODEL-NUMBER.tar.",
)
@click.option(
    "--base",
    metavar="oci:PATH|IMAGE",
    help="What it stands on, with a Python like this one. Default: Debian packages of this "
    "machine, without a shell.",
)
@click.option(
    "--with",
    "extras",
    multiple=True,
    type=click.Choice(sorted(EXTRAS)),
    help="Also gRPC on port 8081, OpenTelemetry, rows in Parquet and Arrow, or async invocations "
    "by S3. May be repeated.",
)
@click.option("--tag", "tags", multiple=True, help="Default: the number. May be repeated.")
@click.option(
    "--sbom", type=click.Path(path_type=Path), help="Also write the bill of materials to a file."
)
@click.option("--user", envvar="SETPOINT_REGISTRY_USER", help="Default: docker login's.")
@click.option("--password", envvar="SETPOINT_REGISTRY_PASSWORD", help="Of the user.")
def build(
    *,
    home: str | None,
    as_json: bool,
    model: str,
    to: str | None,
    base: str | None,
    extras: tuple[str, ...],
    tags: tuple[str, ...],
    sbom: Path | None,
    user: str | None,
    password: str | None,
) -> None:
    """Build a version as an OCI image that serves it, without Docker.

    MODEL alone is its live version. The same version, packages and base give the same digest.
    The image answers on port 8080 of all addresses, without authentication, as user 65532.
    """
    if (user is None) != (password is None):
        raise Invalid("a login is a user and a password", hint="give both, or neither")
    store = backend(home)
    version = version_of(store, model)
    with store.reading() as conn:
        configured = settings_of(conn, version.model)
    wanted = Wanted(
        to=references.destination(to or f"./{version.model}-{version.number}.tar"),
        base=None if base is None else references.base(base),
        tags=[references.tag_name(tag) for tag in tags],
        sbom=sbom,
        login=None if user is None else Login(user, password or ""),
        logins=registry_logins(),
        settings=configured,
        extras=sorted(set(extras)),
    )
    settings = store.settings
    built = build_image(version, open_store(settings), settings.home, wanted, _told)
    say(_said(built), built, as_json=as_json)


def _told(what: str) -> None:
    click.echo(what, err=True)


def _said(built: Built) -> str:
    parts = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in built.layers.items())
    tags = f"tag{'s' * (len(built.tags) > 1)} {', '.join(built.tags)}"
    return "\n".join(
        [
            f"built {built.model} version {built.version}: {built.to}, {tags}",
            f"digest  {built.digest}",
            f"size    {built.size / 1e6:.1f} MB ({parts})",
            f"base    {built.base}, Python {built.python}",
        ]
    )
