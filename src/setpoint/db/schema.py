"""The one MetaData, and the column types that every table shares."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Dialect, MetaData, Text
from sqlalchemy.types import TypeDecorator

from setpoint.core.clock import from_micros, to_micros

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime, stored as integer microseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:  # noqa: ARG002
        if value is None:
            return None
        if value.tzinfo is None:
            msg = f"naive datetime {value!r}: every time in Setpoint carries a zone"
            raise ValueError(msg)
        return to_micros(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else from_micros(value)


class Json(TypeDecorator[Any]):
    """Any msgspec-encodable value as JSON text.

    Text and not the database's JSON type: PostgreSQL's reorders keys and refuses NaN, and
    what a hash chain covers must come back byte for byte. NaN and inf become null.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else encode(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002
        return None if value is None else msgspec.json.decode(value)


def encode(value: Any) -> str:
    """Return canonical JSON text: keys sorted, no spaces; NUL (refused by PostgreSQL) kept out."""
    text = msgspec.json.encode(value, order="sorted", enc_hook=_plain).decode()
    return text.replace("\\u0000", "\\ufffd")


def _plain(value: Any) -> Any:
    """Return what JSON can say: a numpy scalar's Python value, the text of anything else."""
    return value.item() if hasattr(value, "item") else str(value)
