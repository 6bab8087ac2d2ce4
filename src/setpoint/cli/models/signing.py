"""Signing versions with keys of one's own, and verifying them."""

from pathlib import Path

import click

from setpoint.artifacts.store import open_store
from setpoint.cli.console import backend, home_option, json_option, say
from setpoint.models.registry import service as registry
from setpoint.models.registry.commands import OneVersion
from setpoint.models.signing.service import AttachSignature, attach

_KEY = click.option(
    "--key",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
)
_FILES = click.option(
    "--files",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Its files, if they are elsewhere.",
)


@click.command("sign", epilog="Example: setpoint models sign credit 3 --key key.pem")
@home_option
@json_option
@click.argument("model")
@click.argument("number", type=int)
@_KEY
@_FILES
def sign_(
    home: str | None, as_json: bool, model: str, number: int, key: Path, files: Path | None
) -> None:
    """Sign the files of a version with a private key (elliptic curve, PEM)."""
    from setpoint.models.signing import local  # noqa: PLC0415 - an extra, and heavy

    store = backend(home)
    objects = open_store(store.settings)
    version = store.call(registry.version, OneVersion(model=model, number=number)).version
    made = local.sign(objects, version, key, files)
    bundle = objects.put(made.bundle)
    cmd = AttachSignature(model=model, number=number, bundle=bundle, key=made.key)
    say(f"signed, key {made.key[:16]}…", store.call(attach, cmd), as_json=as_json)


@click.command("verify", epilog="Example: setpoint models verify credit 3 --key key.pub")
@home_option
@json_option
@click.argument("model")
@click.argument("number", type=int)
@_KEY
@_FILES
def verify_(
    home: str | None, as_json: bool, model: str, number: int, key: Path, files: Path | None
) -> None:
    """Verify the signature of a version with a public key; fails if anything was changed."""
    from setpoint.models.signing import local  # noqa: PLC0415 - an extra, and heavy

    store = backend(home)
    version = store.call(registry.version, OneVersion(model=model, number=number)).version
    local.verify(open_store(store.settings), version, key, files)
    signed = version.signed
    say(f"verified: signed by {signed.actor if signed else ''}", signed, as_json=as_json)


COMMANDS = (sign_, verify_)
