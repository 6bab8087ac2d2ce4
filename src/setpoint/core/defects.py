"""What is left of an exception that nobody expected: a file for whoever mends it."""

import os
import platform
import tempfile
import traceback
from pathlib import Path

from setpoint import __version__
from setpoint.errors import Defect, SetpointError, Unavailable


def report(error: BaseException) -> str:
    """Write the traceback of a defect to a file; return its path.

    Where no file can be written, the innermost frame is returned instead.
    """
    lines = traceback.format_exception(error)
    head = f"setpoint {__version__}, Python {platform.python_version()}, {platform.platform()}\n\n"
    try:
        number, name = tempfile.mkstemp(prefix="setpoint-defect-", suffix=".txt", text=True)
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(head + "".join(lines))
    except OSError:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return f"{Path(frame.filename).name}:{frame.lineno}, in {frame.name}"
    return name


def in_words(error: BaseException) -> SetpointError:
    """Return what a person is told about any exception that reached an outermost frame.

    A file system that refuses is no defect: it is told as it is.
    """
    if isinstance(error, SetpointError):
        return error
    if isinstance(error, OSError) and error.errno is not None:
        return Unavailable(
            f"the system refused: {error.strerror}",
            where=str(error.filename or ""),
            hint="free some space, or choose a folder you may write to with --home DIR",
        )
    said = " ".join(str(error).split())[:200]
    kind = type(error).__name__
    return Defect(
        f"this is a defect of Setpoint: {kind}: {said}"
        if said
        else f"this is a defect of Setpoint: {kind}",
        where=report(error),
        hint="report it with that file; nothing that was acknowledged is lost",
    )
