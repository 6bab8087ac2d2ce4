"""Bodies of JSON, decoded into structs."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from setpoint.errors import Invalid

T = TypeVar("T")


def too_deep(what: str) -> Invalid:
    """Return the error of JSON in more brackets than can be followed."""
    return Invalid(f"the {what} is nested too deeply", hint="send values, or lists of them")


def read(
    decode: Callable[[bytes], T], body: bytes, what: str, hints: Mapping[str, str] | None = None
) -> T:
    """Decode a body.

    Args:
        decode: Of a decoder of msgspec.
        body: What was sent.
        what: It should be, in words.
        hints: What to do, by a part of the path to what is wrong.

    Raises:
        Invalid: If it is no JSON, or has not the fields it should; says where.
    """
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        text, _, where = str(error).partition(" - at ")
        hint = next((said for part, said in (hints or {}).items() if part in where), "")
        raise Invalid(
            f"the {what} is not as it should be: {text}", where=where.strip("`"), hint=hint
        ) from None
    except RecursionError:
        raise too_deep(what) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(
            f"the body of the {what} is not JSON: {error}", hint="send UTF-8 JSON"
        ) from None
