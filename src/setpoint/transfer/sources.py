"""The kinds of stores runs can come from."""

from collections.abc import Callable

from setpoint.errors import Invalid
from setpoint.transfer.entities import Source
from setpoint.transfer.mlflow import Login, open_mlflow


def open_source(kind: str, where: str, *, login: Login, python: str) -> Source:
    """Return the store of another system.

    Args:
        kind: One of `KINDS`.
        where: A path; for MLflow also the URL of a database or a server.
        login: Whom a server is told that asks.
        python: The interpreter that has Aim's own package, which alone reads its files.

    Raises:
        Invalid: If there is no such kind, or the store is none of it.
        NotFound: If nothing is there.
    """
    if kind == "mlflow":
        return open_mlflow(where, login)
    if kind == "aim":
        from setpoint.transfer.aim import Aim  # noqa: PLC0415 - one of five

        return Aim(where, python)
    if kind not in _OPENERS:
        raise Invalid(f"{kind!r} is nothing to import from", hint=f"one of {', '.join(KINDS)}")
    return _OPENERS[kind]()(where)


def _wandb() -> Callable[[str], Source]:
    from setpoint.transfer.wandb import Wandb  # noqa: PLC0415

    return Wandb


def _tensorboard() -> Callable[[str], Source]:
    from setpoint.transfer.tensorboard import TensorBoard  # noqa: PLC0415

    return TensorBoard


def _neptune() -> Callable[[str], Source]:
    from setpoint.transfer.neptune import Neptune  # noqa: PLC0415 - needs Polars

    return Neptune


_OPENERS = {"wandb": _wandb, "tensorboard": _tensorboard, "neptune": _neptune}
KINDS = ("mlflow", "wandb", "neptune", "tensorboard", "aim")
