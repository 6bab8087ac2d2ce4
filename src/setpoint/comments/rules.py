"""Whom a text mentions. Text in, names out."""

import re
from collections.abc import Iterator

_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
#: Not inside a word, so that an e-mail address mentions nobody.
_MENTION = re.compile(r"(?<![\w@.+-])@(\w+(?:[.-]\w+)*)")


def mentioned(text: str) -> list[str]:
    """Return the names after an ``@``, each once, in the order of the text; not those in code."""
    return list(dict.fromkeys(_MENTION.findall(_CODE.sub(" ", text))))


def pieces(text: str) -> Iterator[tuple[str, str]]:
    """Yield a text cut at its mentions: each piece, and the name where it is a mention."""
    done = 0
    for found in _MENTION.finditer(text):
        yield text[done : found.start()], ""
        yield found[0], found[1]
        done = found.end()
    yield text[done:], ""
