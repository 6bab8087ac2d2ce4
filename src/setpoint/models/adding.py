"""Models that were trained elsewhere, brought in whole: stored, compiled where they can be, served.

They have no gate: nobody measured them here. Who puts one before traffic says why, on record.
"""

import pickle
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import asdict

from setpoint.artifacts.contract import ObjectStore
from setpoint.errors import Denied, Invalid, MissingExtra, NotFound
from setpoint.models import build, frames
from setpoint.models.entities import Label, Stored
from setpoint.models.service import Register

KINDS = ("classification", "regression", "any")
_PICKLES = (".pkl", ".pickle", ".joblib", ".cloudpickle")


def stored(
    store: ObjectStore,
    model: Any,
    example: Any,
    *,
    kind: str = "",
    classes: Sequence[Label] = (),
    frame: str = "",
) -> Stored:
    """Store a model in all forms it can serve in.

    Args:
        store: Where they go.
        model: A trained model, or the path (text or not) of a file or folder that its own library
            wrote.
        example: Rows as it takes them, see `frames.example_of`. What it answers for them tells
            what it gives, and they are the rows that a compiled form is compared on: some
            hundred rows of its training set do well, one is enough.
        kind: ``classification``, ``regression`` or ``any``; "" has it told by the model.
        classes: What a classifier tells apart, where it does not say so itself.
        frame: What a Python model is handed, see `Signature.frame`.

    Raises:
        NotFound: If it is the path of nothing.
        Invalid: If it is nothing that predicts, or does not take the example.
        UserCodeFailed: If it raises.
    """
    if kind and kind not in KINDS:
        raise Invalid(f"{kind!r} is no kind of model", hint=f"one of: {', '.join(KINDS)}")
    if isinstance(model, str):
        model = _existing(model)
    rows = frames.example_of(example)
    if not rows.height:
        raise Invalid("the example has no rows", hint="one is enough, some hundred are better")
    return build.build(
        store,
        model,
        rows,
        kind=kind,
        rng=np.random.default_rng(0),
        classes=classes,
        frame=frame,
    )


def registration(model: str, held: Stored, *, run_id: str = "", why: str = "") -> Register:
    """Return the command that makes what is stored a version of `model`."""
    return Register(model=model, run_id=run_id, why=why or "brought in", **asdict(held))


def opened(said: str, *, trust: bool = False) -> Any:
    """Return the model that is meant: an object of a module, one in a pickle, or a path.

    Args:
        said: ``module:name``, a class there being made with no arguments; or a file or folder.
        trust: Whether a pickle may be read, which runs whatever code is in it.

    Raises:
        NotFound: If there is none.
        Denied: If it is a pickle, and not trusted.
        Invalid: If it cannot be read.
    """
    path = Path(said)
    if not path.exists():
        return _imported(said)
    if path.suffix not in _PICKLES:
        return path
    if not trust:
        raise Denied(
            f"{path.name} is a pickle: reading it runs whatever code is in it",
            where=said,
            hint="if it is yours: --trust",
        )
    try:
        return _unpickled(path)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"the model needs the package {error.name!r}", hint=f"pip install {error.name}"
        ) from None
    except Exception as error:  # noqa: BLE001 - a pickle is foreign code
        raise Invalid(
            f"{path.name} cannot be read", where=f"{type(error).__name__}: {error}"
        ) from None


def _existing(said: str) -> Path:
    path = Path(said)
    if not path.exists():
        raise NotFound(f"there is no file {said!r}", hint="give a trained model, or where one lies")
    return path


def _unpickled(path: Path) -> Any:
    if path.suffix == ".joblib":
        import joblib  # noqa: PLC0415 - comes with scikit-learn

        return joblib.load(path)
    with path.open("rb") as file:
        return pickle.load(file)  # noqa: S301 - its owner said that it may be trusted


def _imported(said: str) -> Any:
    module, sign, name = said.partition(":")
    if not sign or not module.replace(".", "").replace("_", "").isalnum():
        raise NotFound(f"there is no file {said!r}", hint="a file, a folder, or module:name")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise NotFound(
            f"{said!r} cannot be imported: {error}", hint="run it where the module lies"
        ) from None
    return found() if isinstance(found, type) else found
