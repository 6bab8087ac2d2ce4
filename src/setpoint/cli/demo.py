"""``setpoint demo``: the main job, on a real year."""

from datetime import UTC, datetime

import click

from setpoint.cli.console import json_option
from setpoint.errors import Invalid


@click.command(
    epilog="""Examples:

    setpoint demo

    setpoint demo --until 2013-05-01 --no-ui --json
"""
)
@json_option
@click.option(
    "--home",
    default=".setpoint-demo",
    show_default=True,
    metavar="DIR",
    help="Folder of the store. A replay that was stopped goes on there.",
)
@click.option("--until", metavar="DATE", help="Stop before this day, such as 2013-05-01.")
@click.option(
    "--seed", default=7, show_default=True, help="The same seed makes the same decisions."
)
@click.option("--no-ui", is_flag=True, help="Exit at the end instead of keeping the pages up.")
@click.option("--port", default=8765, show_default=True, help="Pages and API.")
@click.option("--inference-port", default=8766, show_default=True, help="Inference.")
def demo(
    as_json: bool,
    home: str,
    until: str | None,
    seed: int,
    no_ui: bool,
    port: int,
    inference_port: int,
) -> None:
    """Replay a real year of flights through the whole loop.

    336,776 flights left New York in 2013. A model says at the scheduled departure whether
    one will arrive 15 minutes late; the truth comes hours later. Everything is real: HTTP,
    statistics, decisions. Only the clock is the year's.
    """
    from setpoint.demo.run import Options, run  # noqa: PLC0415 - heavy

    run(
        Options(
            home=home,
            until=_date(until),
            seed=seed,
            ui=not no_ui,
            port=port,
            inference_port=inference_port,
            as_json=as_json,
        )
    )


def _date(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).replace(hour=5, tzinfo=UTC)
    except ValueError:
        raise Invalid(f"{text!r} is not a date", hint="such as --until 2013-05-01") from None
