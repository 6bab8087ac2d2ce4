"""Pickles that carry the project's own code, so that they load where it is not installed.

Loading a pickle runs code. `load` is handed only bytes whose content address was recorded
when the model was registered in this store, which `models.runtime` sees to.
"""

import pickle
import sys
import sysconfig
import types
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import cloudpickle

from setpoint.errors import Invalid, MissingExtra, SetpointError

_PREFIX = 8  #: bytes that may say before a pickle that it is one


def dump(model: Any) -> bytes:
    """Return `model` as bytes; classes and functions of modules not installed go inside.

    Raises:
        Invalid: If it holds what cannot be pickled: open files, locks, generators.
    """
    try:
        with _by_value():
            return bytes(cloudpickle.dumps(model))
    except (TypeError, AttributeError, pickle.PicklingError, RecursionError) as error:
        raise Invalid(
            f"the {type(model).__name__} that train returned cannot be stored",
            where=str(error),
            hint="return a fitted estimator without open files, locks or connections",
        ) from None


def load(data: bytes) -> Any:
    """Return the object in bytes that `dump` wrote.

    Raises:
        MissingExtra: If a package that it needs is not installed here.
        Invalid: If the bytes are no pickle that this Python can read.
    """
    try:
        # Its address was registered here.
        return pickle.Unpickler(_Parts(data)).load()  # noqa: S301
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"the model needs the package {error.name!r}", hint=f"pip install {error.name}"
        ) from None
    except SetpointError:
        raise
    except Exception as error:
        raise Invalid(
            "the stored model cannot be loaded",
            where=f"{type(error).__name__}: {error}",
            hint="was it trained with other versions of its packages?",
        ) from error


class _Parts:
    """Bytes as a file that Python reads, piece by piece.

    Unpickling is one call of C, which holds Python's lock to its end; between the pieces, 64 kB
    each and more, other threads have their turn. It takes no longer.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._bytes = memoryview(data)
        self._at = 0

    def read(self, count: int) -> bytes:
        begun, self._at = self._at, self._at + count
        return self._data[begun : self._at]

    def readinto(self, into: Any) -> int:
        begun, self._at = self._at, self._at + len(into)
        found = self._bytes[begun : self._at]
        into[: len(found)] = found
        return len(found)

    def readline(self) -> bytes:
        begun, end = self._at, self._data.find(b"\n", self._at)
        self._at = end + 1 if end >= 0 else len(self._data)
        return self._data[begun : self._at]


def pickle_in(data: bytes) -> bytes:
    """Return the pickle among a model's bytes, an empty one if they are something else."""
    for start in (0, _PREFIX):
        if data[start : start + 1] == pickle.PROTO and data[-1:] == pickle.STOP:
            return data[start:]
    return pickle.STOP


@contextmanager
def _by_value() -> Iterator[None]:
    """Have every loaded module that is no installed package pickled by value meanwhile."""
    mine = [module for module in list(sys.modules.values()) if _of_project(module)]
    for module in mine:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in mine:
            cloudpickle.unregister_pickle_by_value(module)


_INSTALLED = tuple(
    str(Path(path).resolve())
    for path in {*sysconfig.get_paths().values(), str(Path(__file__).parents[2])}
)


def _of_project(module: Any) -> bool:
    file = getattr(module, "__file__", None)
    name = getattr(module, "__name__", "__main__")
    return (
        isinstance(module, types.ModuleType)
        and name != "__main__"
        and isinstance(file, str)
        and sys.modules.get(name) is module
        and not _is_installed(file)
    )


@cache
def _is_installed(file: str) -> bool:
    return str(Path(file).resolve()).startswith(_INSTALLED)
