"""Bodies of JSON, decoded into structs."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from setpoint.errors import Invalid

T = TypeVar("T")


def lenient(decoder: "msgspec.json.Decoder[T]", into: Any) -> Callable[[bytes], T]:
    """Return a function that decodes a body in which NaN and Infinity are numbers, too.

    JSON has none, but Python's and pandas' writers write them, and so do the clients made with
    those. Whether a model takes them is another question.

    Args:
        decoder: Of such a body.
        into: What it decodes to.
    """

    def decode(raw: bytes) -> T:
        try:
            return decoder.decode(raw)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            if b"NaN" not in raw and b"Infinity" not in raw:
                raise
        try:
            plain = json.loads(raw)
            if b"\\u" in raw:  # half of a character, which no decoder of ours lets in
                json.dumps(plain, ensure_ascii=False).encode()
        except ValueError as error:
            raise msgspec.DecodeError(str(error)) from None
        found: T = msgspec.convert(plain, into)
        return found

    return decode


def unbase64(text: Any, where: str = "") -> bytes:
    """Return the bytes that a text in base 64 stands for.

    Raises:
        Invalid: If it is none.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError):
        hint = "encode it in base 64"
        raise Invalid("this is not in base 64", where=where, hint=hint) from None


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
