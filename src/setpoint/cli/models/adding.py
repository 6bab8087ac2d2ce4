"""``setpoint models add``: a model that was trained elsewhere, brought in whole."""

import sys
from pathlib import Path
from typing import Any

import click

from setpoint.cli.console import backend, home_option, json_option, say
from setpoint.errors import Invalid, NotFound
from setpoint.models.entities import Label, ModelVersion

_FILES = """Files that are known: .pkl and .joblib (with --trust), LightGBM's text, .ubj and .json
of XGBoost, .cbm of CatBoost, .pt of TorchScript, .pt2 of torch.export, .keras, .onnx; folders of
TensorFlow's SavedModel, of a transformers pipeline, of MLflow. Or module:name, an object or a
class of yours with predict_proba or predict.

Example: setpoint models add iris iris.joblib --example iris.csv --trust"""


@click.command("add", epilog=_FILES)
@home_option
@json_option
@click.argument("model")
@click.argument("file")
@click.option("--example", required=True, metavar="FILE", help="Rows it takes: Parquet or CSV.")
@click.option("--kind", default="", help="classification, regression or any; else it is told.")
@click.option("--class", "classes", multiple=True, metavar="NAME", help="A class; one each.")
@click.option(
    "--frame", default="", help="What it is handed: polars, pandas, numpy, arrow, columns."
)
@click.option("--trust", is_flag=True, help="Read a pickle, which runs what is in it.")
@click.option("--why", default="", help="Why there is this version.")
def add_(
    *,
    home: str | None,
    as_json: bool,
    model: str,
    file: str,
    example: str,
    kind: str,
    classes: tuple[str, ...],
    frame: str,
    trust: bool,
    why: str,
) -> None:
    """Bring a trained model in as a version of MODEL: FILE, or module:name."""
    from setpoint.artifacts.store import open_store  # noqa: PLC0415 - heavy, and here only
    from setpoint.models import adding  # noqa: PLC0415
    from setpoint.models.service import register  # noqa: PLC0415

    sys.path.insert(0, "")  # module:name is looked for where one stands
    opened = adding.opened(file, trust=trust)
    store = backend(home)
    held = adding.stored(
        open_store(store.settings),
        opened,
        _rows(Path(example)),
        kind=kind,
        classes=[_label(each) for each in classes],
        frame=frame,
    )
    made = store.call(register, adding.registration(model, held, why=why))
    say(_told(made), made, as_json=as_json)


def _rows(path: Path) -> Any:
    import polars as pl  # noqa: PLC0415

    if not path.exists():
        raise NotFound(f"there is no file {str(path)!r}", hint="rows as Parquet or CSV")
    try:
        if path.suffix == ".csv":
            return pl.read_csv(path)
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise Invalid(
            f"{path.name} cannot be read: {str(error).splitlines()[0]}",
            where=str(path),
            hint="give Parquet or CSV",
        ) from None


def _label(text: str) -> Label:
    return int(text) if text.lstrip("-").isdecimal() else text


def _told(made: ModelVersion) -> str:
    takes = ", ".join(each.name for each in made.signature.inputs[:8])
    more = len(made.signature.inputs) - 8
    gives = [*(["score"] if made.signature.scored else [])]
    gives += [each.name for each in made.signature.outputs]
    compiled = "compiled" if made.onnx else f"as {made.flavor} runs it"
    if made.onnx is None and made.parity is not None and made.parity.why:
        compiled += f" ({made.parity.why})"
    return "\n".join(
        [
            f"added version {made.number} of {made.model}",
            f"  takes   {takes}{f' and {more} more' if more > 0 else ''}",
            f"  gives   {', '.join(gives)}",
            f"  serves  {compiled}",
            f'  next    setpoint releases deploy {made.model} {made.number} --reason "…"',
        ]
    )


COMMANDS = (add_,)
