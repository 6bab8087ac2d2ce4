"""What may be a name, and the name of a source that was given none."""

import re
import unicodedata
from pathlib import PurePosixPath

_MODEL = re.compile(r"[^\W_][\w.-]*")
LONGEST = 64  #: characters
CODE_PATTERN = r"^[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*$"
_CODE = re.compile(CODE_PATTERN)


def bad_model_name(name: str) -> str | None:
    """Say what is wrong with the name of a model, or nothing.

    Letters and digits of any script, ``-``, ``_`` and ``.``; it starts with a letter or
    digit, is at most 64 characters, and in Unicode's NFC form.
    """
    if not name:
        return "it is empty"
    if len(name) > LONGEST or len(name.encode("utf-8", "replace")) > 200:
        return f"it is longer than {LONGEST} characters"
    if _MODEL.fullmatch(name) is None or name.endswith("."):
        return "it starts with a letter or digit; letters, digits, “-”, “_” and “.” may follow"
    if unicodedata.normalize("NFC", name) != name:
        return "its accents are written as separate characters (not in NFC form)"
    return None


def is_code(text: str) -> bool:
    """Whether a text looks like ``module:name``."""
    return _CODE.fullmatch(text) is not None and ".py:" not in text


def stem(source: str) -> str:
    """Return the name of a dataset from its path or function, as an identifier.

    Example:
        >>> stem("data/flights.csv.gz"), stem("flights:load_rows")
        ('flights', 'load_rows')
    """
    if is_code(source):
        return source.partition(":")[2].rpartition(".")[2]
    name = PurePosixPath(source.replace("\\", "/")).name.partition(".")[0]
    name = re.sub(r"\W", "_", name)
    return name if name.isidentifier() else f"rows_{name}".rstrip("_")
