"""Whom a text mentions. Text in, names out."""

import re

_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
#: Not inside a word, so that an e-mail address mentions nobody.
_MENTION = re.compile(r"(?<![\w@.+-])@(\w+(?:[.-]\w+)*)")


def mentioned(text: str) -> list[str]:
    """Return the names after an ``@``, each once, in the order of the text; not those in code."""
    return list(dict.fromkeys(_MENTION.findall(_CODE.sub(" ", text))))
