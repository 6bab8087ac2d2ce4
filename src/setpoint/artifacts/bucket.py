"""A bucket of S3, or of anything that speaks its protocol, and what can be wrong with it."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from setpoint.config import Aws
from setpoint.errors import MissingExtra, Unavailable

try:
    import obstore
    from obstore.exceptions import BaseError
    from obstore.store import S3Store as Client
except ModuleNotFoundError:
    raise MissingExtra(
        "artifacts on S3 need its client", hint="pip install 'setpoint[s3]'"
    ) from None

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, ObjectMeta
    from obstore.store import S3Config

#: The client's threads do not live on in a forked child, which would wait for them for ever.
_PROCESS = os.getpid()
_CODE = re.compile(r"<Code>(\w+)</Code>")


class Patience(NamedTuple):
    """How long a bucket is waited for."""

    wait: timedelta  #: for the next bytes
    longest: timedelta  #: for all of an object
    tries: int  #: more, after the first
    away: timedelta  #: with a service that fails or is away


class Words(NamedTuple):
    """How a bucket is spoken of where something is wrong with it."""

    name: str  #: as in ``the artifact store cannot be reached``
    where: str
    kept: str  #: what is not lost meanwhile


class Bucket:
    """Objects by their keys, below a prefix. All of it blocks.

    Use it within `telling`.
    """

    def __init__(
        self, name: str, prefix: str | None, aws: Aws, patience: Patience, words: Words
    ) -> None:
        """Name a bucket; nothing is asked of it yet."""
        self._name = name
        self._words = words
        self._held = Client(
            name,
            prefix=prefix,
            config=_given(aws),
            client_options={
                "allow_http": True,
                "timeout": patience.longest,
                "read_timeout": patience.wait,
            },
            retry_config={"max_retries": patience.tries, "retry_timeout": patience.away},
        )

    @property
    def client(self) -> Client:
        """The client's own object.

        Raises:
            Unavailable: In a process that was forked from its user.
        """
        if os.getpid() != _PROCESS:
            raise Unavailable(
                f"{self._words.name} cannot be used in a process that was forked from its user",
                where=self._words.where,
                hint="start processes by spawn: multiprocessing.set_start_method('spawn')",
            )
        return self._held

    def get(self, key: str, options: "GetOptions | None" = None) -> "GetResult | None":
        """Begin to read an object; None if it has nothing in the range that is asked for."""
        try:
            return obstore.get(self.client, key, options=options)
        except BaseError as error:
            if "<Code>InvalidRange<" in str(error):
                return None
            raise

    def head(self, key: str) -> "ObjectMeta":
        """Return what is told of an object."""
        return obstore.head(self.client, key)

    def put(self, key: str, content: bytes | IO[bytes], **how: Any) -> None:
        """Keep an object; `how` is in the client's words."""
        obstore.put(self.client, key, content, **how)

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; removing what is not there changes nothing."""
        obstore.delete(self.client, keys)

    def keys(self) -> Iterator[str]:
        """Yield every key below the prefix."""
        for some in obstore.list(self.client):
            for found in some:
                yield found["path"]

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Make every trouble with the bucket one error that says what to do.

        Raises:
            FileNotFoundError: If the object is not there.
            Unavailable: If anything else is wrong.
        """
        try:
            yield
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise self._trouble(str(error)) from None
            raise
        except (BaseError, OSError) as error:
            raise self._trouble(str(error)) from None

    def _trouble(self, said: str) -> Unavailable:
        code, (name, where, kept) = next(iter(_CODE.findall(said)), ""), self._words
        if code == "NoSuchBucket":
            what, hint = f"there is no bucket {self._name!r}", "make it, or name another"
        elif "169.254.169.254" in said:  # asked last, when nothing else was given
            what = f"{name} was given no credentials"
            hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        elif " 403 " in said or " 401 " in said:
            what = f"{name} refuses these credentials ({code or 'forbidden'})"
            hint = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, that the bucket is there, "
            hint += "and that they may list, read, write and delete in it"
        elif "HTTP error" in said:
            what = f"{name} cannot be reached"
            hint = f"check AWS_ENDPOINT_URL and the network; {kept}"
        else:
            what = f"{name} failed: {code or said.partition(chr(10))[0][:300]}"
            hint = kept
        return Unavailable(what, where=where, hint=hint)


def _given(aws: Aws) -> "S3Config":
    """Return what is given in the client's words.

    It reads the environment too, and there the address of S3 wins over any other.
    """
    names = {"endpoint": "aws_endpoint_url_s3"}
    return cast("S3Config", {names.get(name, name): one for name, one in aws.given().items()})
