"""``setpoint up``: the whole platform on one machine, in one folder."""

import click

from setpoint.cli.console import home_option
from setpoint.config import settings


@click.command(
    epilog="Example: setpoint up --home .setpoint --port 8765 --inference-port 8766",
    short_help="Run pages, API, inference and controller on this machine.",
)
@home_option
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to bind; loopback only."
)
@click.option("--port", default=8765, show_default=True, help="Pages and API.")
@click.option("--inference-port", default=8766, show_default=True, help="Inference.")
@click.option("--grpc-port", type=int, help="Inference for clients of gRPC, too.")
@click.option("--workers", type=int, help="Processes that answer inference. Default: 1.")
@click.option(
    "--model-memory",
    metavar="SIZE",
    help="Load models when they are asked, and hold those asked last within e.g. 2GB.",
)
def up(
    *,
    home: str | None,
    host: str,
    port: int,
    inference_port: int,
    grpc_port: int | None,
    workers: int | None,
    model_memory: str | None,
) -> None:
    """Run pages, API, inference and controller on this machine.

    Everything lies in one folder. Stop it with Ctrl-C, or kill it: the next start goes on
    where it was.
    """
    from setpoint.cli.supervisor import Supervisor  # noqa: PLC0415 - heavy

    supervisor = Supervisor(
        settings(home),
        host=host,
        port=port,
        inference_port=inference_port,
        grpc_port=grpc_port,
        workers=workers,
        model_memory=model_memory,
    )
    with supervisor.running():
        click.echo(f"pages      http://{host}:{port}")
        click.echo(f"inference  http://{host}:{inference_port}")
        if grpc_port is not None:
            click.echo(f"gRPC       {host}:{grpc_port}")
        click.echo(f"store      {supervisor.settings.home}")
        click.echo("stop with Ctrl-C")
        supervisor.serve()
