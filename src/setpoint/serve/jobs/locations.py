"""Where in S3 an invocation's input lies and its answer goes. Pure."""

import re
from typing import NamedTuple

from setpoint.errors import Invalid

_LOCATION = re.compile(r"s3://(?P<bucket>[A-Za-z0-9][A-Za-z0-9._-]{1,254})/(?P<key>.+)")
_PLACE = re.compile(r"s3://[A-Za-z0-9][A-Za-z0-9._-]{1,254}(?:/[A-Za-z0-9!_.*'()/-]*)?")
#: As SageMaker has them.
_EXTENSION = re.compile(r"[a-zA-Z0-9!_.*'()/-]{1,512}")
_FILENAME = re.compile(r"(?!.*\..*\.)[a-zA-Z0-9][a-zA-Z0-9-_.]{0,31}")
_LONGEST_KEY = 1_024  #: bytes, as S3 has it


class Location(NamedTuple):
    """An object of S3."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


class Places(NamedTuple):
    """Where the answer of a job is put, or else why it has none."""

    output: str
    failure: str


def location(said: str) -> Location:
    """Return the object that a text names.

    Raises:
        Invalid: If it names none.
    """
    found = _LOCATION.fullmatch(said)
    if found is None or not _is_plain(found["key"]):
        raise Invalid(
            f"{said[:200]!r} is no object of S3",
            hint="name the input as s3://BUCKET/KEY, without empty parts, '.' and '..' in the key",
        )
    return Location(found["bucket"], found["key"])


def place(said: str) -> str:
    """Return a place for answers, without a slash at its end.

    Raises:
        Invalid: If it is none.
    """
    short = said.rstrip("/")
    if _PLACE.fullmatch(short) is None or not _is_plain(short.removeprefix("s3://")):
        raise Invalid(
            f"{said!r} is no place for answers",
            hint="SETPOINT_SERVE_ASYNC_OUTPUT=s3://BUCKET/PREFIX",
        )
    return short


def places(within: str, job: str, extension: str = "", filename: str = "") -> Places:
    """Return where the answer of a job is put.

    Args:
        within: A `place`; nothing is put elsewhere.
        job: Its id, after which what is put is named.
        extension: A folder below that, if the request names one.
        filename: Of the answer, if the request names one.

    Raises:
        Invalid: If a name leads elsewhere.
    """
    for said, known in ((extension, _EXTENSION), (filename, _FILENAME)):
        if said and (known.fullmatch(said) is None or not _is_plain(said.strip("/"))):
            raise Invalid(
                f"{said[:100]!r} is no name for an answer",
                hint="send letters, digits, '-', '_' and one '.'; a path may have slashes",
            )
    folder = "/".join(filter(None, (within, extension.strip("/"))))
    return Places(f"{folder}/{filename or f'{job}.out'}", f"{folder}/{job}-error.out")


def _is_plain(key: str) -> bool:
    """Tell whether the client can name a key: it takes paths, and would change others."""
    parts = key.split("/")
    long = len(key.encode()) > _LONGEST_KEY
    return key.isprintable() and not long and not {"", ".", ".."} & set(parts)
