"""The GraphQL documents that the wandb client ships: what it may ever ask a server.

``python wandb_documents.py`` runs in the client's environment and prints one JSON line. They
are found where they lie: as texts in its modules, and in its compiled core.
"""

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import wandb

_BEGINS = re.compile(r"\s*(?:#graphql)?\s*(?:query|mutation)\b")
_IN_CORE = re.compile(rb"(?:query|mutation) [A-Z]\w*\s*[({]")
_FRAGMENT = re.compile(rb"\s*fragment \w+ on \w+ \{")


def in_modules(root: Path) -> Iterator[str]:
    """Yield whole documents that stand as one text; templates are no documents yet."""
    for path in sorted(root.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        formatted = {
            id(part)
            for node in ast.walk(tree)
            if isinstance(node, ast.JoinedStr)
            for part in node.values
        }
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) else None
            whole = isinstance(text, str) and id(node) not in formatted
            if whole and _BEGINS.match(text) and "{" in text and "_QUERY_" not in text:
                yield text


def in_core(data: bytes) -> Iterator[str]:
    """Yield the documents of the compiled core, with the fragments that follow them."""
    for match in _IN_CORE.finditer(data):
        end = _closed(data, match.start())
        while fragment := _FRAGMENT.match(data, end):
            end = _closed(data, fragment.start())
        text = data[match.start() : end]
        if text.isascii():
            yield text.decode()


def _closed(data: bytes, start: int) -> int:
    """Return where the braces that open after `start` are all closed."""
    depth = 0
    for place in range(data.index(b"{", start), min(start + 20_000, len(data))):
        depth += {ord("{"): 1, ord("}"): -1}.get(data[place], 0)
        if depth == 0 and data[place] == ord("}"):
            return place + 1
    return start + 1


if __name__ == "__main__":
    root = Path(wandb.__file__).parent
    found = [*in_modules(root), *in_core((root / "bin" / "wandb-core").read_bytes())]
    sys.stdout.write(
        "documents " + json.dumps({"version": wandb.__version__, "documents": found}) + "\n"
    )
