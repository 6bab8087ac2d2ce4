"""``setpoint server``: pages and API alone, as many as wanted on one database."""

import click

from setpoint.cli.console import home_option
from setpoint.config import settings


@click.command(
    epilog="Example: setpoint server --port 8767   (with SETPOINT_DATABASE_URL and "
    "SETPOINT_ARTIFACT_URL, on any number of machines)",
    short_help="Run pages and API alone: tracking and the registry, shared by many.",
)
@home_option
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to bind; loopback only."
)
@click.option("--port", default=8765, show_default=True, help="Pages and API.")
def server(home: str | None, host: str, port: int) -> None:
    """Run pages and API alone: tracking and the registry.

    Servers of one database and one artifact store serve one another's runs. What trains,
    serves and watches models is: setpoint up.
    """
    from setpoint.artifacts import store  # noqa: PLC0415
    from setpoint.artifacts.home import service as artifacts  # noqa: PLC0415 - heavy
    from setpoint.cli import pages  # noqa: PLC0415
    from setpoint.db.local import open_local  # noqa: PLC0415

    pages.only_loopback(host)
    pages.require_free(host, port, "--port")
    where = settings(home)
    backend = open_local(where)
    try:
        artifacts.require(backend)
        click.echo(f"pages      http://{host}:{port}")
        click.echo(f"artifacts  {store.open_store(where)}")
        click.echo("stop with Ctrl-C")
        with pages.delivering(backend):
            pages.serve(backend, host, port)
    finally:
        backend.engine.dispose()
