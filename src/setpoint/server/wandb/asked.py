"""What a client posts to ``/graphql``."""

from typing import Any

from msgspec import Struct, field


class Question(Struct, frozen=True):
    """A document with its variables."""

    query: str
    variables: dict[str, Any] | None = None
    operation_name: str | None = field(default=None, name="operationName")


class Parsed(Struct, frozen=True):
    """What JSON says that a variable holds as text."""

    value: Any
