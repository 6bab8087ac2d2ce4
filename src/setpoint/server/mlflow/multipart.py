"""Uploads in parts: objects like all others, named by their upload until they are one file.

What belongs to an upload is in the database and the artifact store, so its parts may arrive at
any server that shares them.
"""

import secrets
from datetime import timedelta

from sqlalchemy import Connection

from setpoint.core.operations import Context
from setpoint.server.mlflow import errors, store
from setpoint.server.mlflow.errors import Refused

MOST = 10_000  #: parts of an upload
_KEPT = timedelta(days=7)  #: an upload that nobody ended


def begin(ctx: Context) -> str:
    """Open an upload and return its id; forget those that were never ended."""
    for old in store.uploads(ctx.conn, before=ctx.now - _KEPT):
        end(ctx, old)
    upload = secrets.token_hex(16)
    store.add_upload(ctx.conn, upload, ctx.now)
    return upload


def require(conn: Connection, upload: str, *, hold: bool = False) -> None:
    """Refuse what is sent to an upload that nobody began, or that has ended; or `hold` it open."""
    if not store.has_upload(conn, upload, hold=hold):
        raise Refused(f"There is no upload '{upload}'", errors.MISSING)


def arrived(ctx: Context, upload: str, number: int, address: str) -> None:
    """Note which object a part is; one that is sent again replaces the first.

    Raises:
        Refused: If the number is none of a part, or there is no such upload.
    """
    if not 1 <= number <= MOST:
        raise Refused(f"Invalid part number {number}: it is from 1 to {MOST}")
    require(ctx.conn, upload, hold=True)
    store.put_part(ctx.conn, upload, number, address)


def parts(conn: Connection, upload: str, numbers: list[int]) -> list[str]:
    """Return the objects of an upload's parts, in the order of `numbers`.

    Raises:
        Refused: If one of them has not arrived, or there is no such upload.
    """
    require(conn, upload)
    there = store.parts(conn, upload)
    missing = [number for number in numbers if number not in there]
    if missing:
        raise Refused(f"Part {missing[0]} of the upload has not arrived")
    return [there[number] for number in numbers]


def end(ctx: Context, upload: str) -> None:
    """Forget an upload, and free the parts that nothing else names.

    Raises:
        Refused: If there is no such upload.
    """
    store.hold_files(ctx.conn)
    require(ctx.conn, upload)
    gone = set(store.parts(ctx.conn, upload).values())
    store.drop_upload(ctx.conn, upload)
    store.free(ctx, gone)
