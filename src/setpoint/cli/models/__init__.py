"""``setpoint models``: what is registered, what people say of it, and what goes."""

import click

from setpoint.cli.models import adding, changing, collecting, reading, reviewing, signing


@click.group()
def models() -> None:
    """Models, their versions, aliases, gates, approvals and cards."""


for _module in (reading, adding, changing, reviewing, signing, collecting):
    for _command in _module.COMMANDS:
        models.add_command(_command)
