"""The artifact store of some settings, and giving back what nothing needs any more."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from setpoint.artifacts.contract import ObjectStore
from setpoint.artifacts.files import FileStore
from setpoint.config import Aws, Settings


class Freed(NamedTuple):
    objects: int
    bytes: int


def open_store(settings: Settings) -> ObjectStore:
    """Return the artifact store of these settings; nothing is asked of it yet.

    Raises:
        Invalid: If its URL is none of a store.
        MissingExtra: If its client is not installed.
    """
    if settings.artifact_url is None:
        return FileStore(settings.objects)
    return _bucket(settings.artifact_url, settings.aws, settings.aside)


@lru_cache(maxsize=16)
def _bucket(url: str, aws: Aws, aside: Path) -> ObjectStore:
    """Return the store at a URL, always the same one: it keeps its connections."""
    from setpoint.artifacts.s3 import S3Store  # noqa: PLC0415 - an extra

    return S3Store(url, aws, aside)


def free(store: ObjectStore, addresses: Iterable[str], *, dry: bool = False) -> Freed:
    """Delete objects, or only count them; return how many there were, and their bytes."""
    found = store.find(addresses)
    if not dry:
        store.delete(found)
    return Freed(len(found), sum(each.size for each in found.values()))
