"""``setpoint``: the group of commands, and the one place where errors become exit codes."""

import importlib
import os
import sys
from keyword import iskeyword
from typing import Any

import click

from setpoint import __version__
from setpoint.errors import (
    Conflict,
    Defect,
    Denied,
    Invalid,
    NotFound,
    SetpointError,
    Unavailable,
    UserCodeFailed,
)

EXIT_CODES: dict[type[SetpointError], int] = {
    Invalid: 2,
    NotFound: 3,
    Conflict: 4,
    Denied: 5,
    Unavailable: 6,
    UserCodeFailed: 7,
    Defect: 70,
}

# name: (module, what it does). The help of the group is written here so that showing it
# imports no command.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "Replay a real year of flights through the whole loop."),
    "init": ("init", "Write a small working project."),
    "plan": ("plan", "Show what apply would change, and why."),
    "apply": ("plan", "Put the specs of a project in force."),
    "up": ("up", "Run pages, API, inference and controller on this machine."),
    "server": ("server", "Run pages and API alone: tracking and the registry, shared by many."),
    "status": ("plan", "Say of each model: on target, settling, off target or held."),
    "explain": (
        "explain",
        "Show every setting of a spec, its default and its consequence.",
    ),
    "why": ("why", "Trace a prediction, version, release or alarm to its causes."),
    "explain-prediction": (
        "explain_prediction",
        "Show what each input added to the score of a prediction.",
    ),
    "predict": ("predict", "Send rows to the inference server."),
    "batch": ("batch", "Score a table: a file, a folder or a dataset."),
    "schema": ("explain", "Print the JSON Schema of the setpoint file."),
    "data": ("data", "Datasets: ls, show, validate."),
    "import": ("transfer", "Bring runs from MLflow, W&B, Neptune, TensorBoard or Aim."),
    "export": ("transfer", "Write runs, models and versions for other systems."),
    "runs": ("runs", "Runs: ls, show, compare."),
    "build": ("build", "Build a version as an OCI image, without Docker."),
    "sync": ("sync", "Deliver runs that were tracked offline or killed."),
    "models": ("models", "Models: ls, show, search, alias, approve, diff, card, sign, gc, …"),
    "releases": (
        "releases",
        "Releases: ls, show, start, approve, reject, hold, promote, …",
    ),
    "alarms": ("alarms", "Alarms: ls, show, ack."),
    "notify": ("notify", "Webhooks, Slack, e-mail: add, ls, test, log, redeliver, …"),
    "events": ("events", "The record of everything that changed: ls, verify."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module only when the command is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"setpoint.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(
            module, cmd_name.replace("-", "_") + "_" * iskeyword(cmd_name)
        )
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib  # noqa: PLC0415 - only on this way out

            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "see: setpoint --help"
            raise Invalid(f"there is no command {args[0]!r}", hint=hint)
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: setpoint demo   or: setpoint init churn && cd churn && setpoint apply",
)
@click.version_option(__version__, prog_name="setpoint")
def cli() -> None:
    """Declare what a model must hold; Setpoint keeps it there.

    Shell completion: eval "$(_SETPOINT_COMPLETE=bash_source setpoint)"  (or zsh, fish)
    """


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit: 0, or by the kind of error (see `EXIT_CODES`)."""
    sys.exit(run(args))


def run(args: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        result: Any = cli.main(args=args, prog_name="setpoint", standalone_mode=False)
    except SetpointError as error:
        complain(error)
        return exit_code(error)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        return 130
    except BrokenPipeError:  # the reader went away, as in: setpoint events ls | head
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - or Python's end complains
        return 0
    except Exception as error:  # noqa: BLE001 - the outermost frame
        from setpoint.core.defects import in_words  # noqa: PLC0415 - only on this way out

        said = in_words(error)
        complain(said)
        return exit_code(said)
    return result if isinstance(result, int) else 0


def exit_code(error: SetpointError) -> int:
    """Return the exit code of an error's kind."""
    return next((EXIT_CODES[c] for c in type(error).__mro__ if c in EXIT_CODES), 1)


def complain(error: SetpointError) -> None:
    """Print what, where, and what to do, on stderr."""
    click.echo(click.style("error: ", fg="red", bold=True) + error.message, err=True)
    if error.where:
        click.echo(f"  where: {error.where}", err=True)
    if error.hint:
        click.echo(f"  do:    {error.hint}", err=True)
