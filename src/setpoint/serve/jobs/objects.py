"""Inputs and answers of invocations as objects of S3."""

import asyncio
from collections import OrderedDict
from datetime import timedelta

import obstore

from setpoint.artifacts.bucket import Bucket, Patience, Words
from setpoint.config import Aws
from setpoint.errors import NotFound
from setpoint.serve.jobs.locations import location
from setpoint.serve.problems import TooLarge

_PATIENCE = Patience(
    wait=timedelta(seconds=20), longest=timedelta(minutes=2), tries=2, away=timedelta(seconds=5)
)
_BUCKETS = 16  #: whose connections are kept


class Objects:
    """Used by an event loop; what is given up ends at once."""

    def __init__(self, aws: Aws) -> None:
        """Say who asks; nothing is asked yet."""
        self._aws = aws
        self._known: OrderedDict[str, Bucket] = OrderedDict()

    async def read(self, where: str, most: int) -> bytes:
        """Return an object.

        Raises:
            Invalid: If that is no object's name.
            NotFound: If it is not there.
            TooLarge: If it is longer than `most` bytes; it is not read then.
            Unavailable: If its bucket cannot be read.
        """
        at = location(where)
        bucket = await self._bucket(at.bucket)
        try:
            with bucket.telling():
                found = await obstore.get_async(bucket.client, at.key)
                if found.meta["size"] > most:
                    raise TooLarge(
                        f"the input is longer than {most:,} bytes",
                        where=where,
                        hint="send fewer rows in one",
                    )
                return bytes(await found.bytes_async())
        except FileNotFoundError:
            raise NotFound(
                "there is no such input", where=where, hint="put it there, then send it again"
            ) from None

    async def write(self, where: str, body: bytes, kind: str) -> None:
        """Put an object, in the place of another that may be there.

        Raises:
            Invalid: If that is no object's name.
            Unavailable: If its bucket cannot be written.
        """
        at = location(where)
        bucket = await self._bucket(at.bucket)
        try:
            with bucket.telling():
                told = {"Content-Type": kind}
                await obstore.put_async(bucket.client, at.key, body, attributes=told)
        except FileNotFoundError:  # of a bucket, as some servers say it
            raise NotFound(f"there is no bucket {at.bucket!r}", where=where) from None

    async def _bucket(self, name: str) -> Bucket:
        known = self._known.get(name)
        if known is None:
            words = Words("the bucket", f"s3://{name}", "what was accepted is kept")
            given = name, None, self._aws, _PATIENCE, words
            known = await asyncio.to_thread(Bucket, *given)  # it reads certificates
            self._known[name] = known
            while len(self._known) > _BUCKETS:
                self._known.popitem(last=False)
        return known
