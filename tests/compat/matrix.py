"""Which calls of which client are answered: ``docs/reference/compatibility.json`` and its page.

Tests keep what they saw in ``.compat/results``; ``python -m tests.compat.matrix`` publishes it.
"""

import json
import sys
from pathlib import Path
from typing import Any

from tests.compat.environments import FOLDER

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
PUBLISHED = REFERENCE / "compatibility.json"
PAGE = REFERENCE / "compatibility.md"
_HEAD = """# Foreign clients

Their own packages, unchanged, run against Setpoint in `make compat`, which writes this page and
[compatibility.json](compatibility.json). *Used* means that a story told with the real client made
the call and got through; *answered*, that the call exists here and no story needs it. Of clients of
inference, what stands there is the story.
"""


def keep(client: str, rows: list[dict[str, Any]]) -> None:
    """Keep what a test saw of a client: rows of version, call, answered, passed."""
    folder = FOLDER / "results"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{client}.json").write_text(json.dumps(rows))


def publish() -> None:
    """Write the seen rows over those of the same client, and the page."""
    rows = json.loads(PUBLISHED.read_text()) if PUBLISHED.exists() else []
    for file in sorted((FOLDER / "results").glob("*.json")):
        seen = [{"client": file.stem, **row} for row in json.loads(file.read_text())]
        rows = [row for row in rows if row["client"] != file.stem] + seen
    PUBLISHED.write_text(json.dumps(rows, indent=1) + "\n")
    PAGE.write_text(page(rows))


def page(rows: list[dict[str, Any]]) -> str:
    """Return the page of these rows."""
    parts = [_HEAD]
    for client in sorted({row["client"] for row in rows}):
        own = [row for row in rows if row["client"] == client]
        used = sum(row["passed"] for row in own)
        answered = sum(row["answered"] for row in own)
        version = own[0]["version"]
        parts.append(
            f"\n## {client} {version}\n\n"
            f"{len(own)} calls: {answered} answered, {used} of them used.\n\n"
            "| call | where | |\n|---|---|---|\n"
        )
        parts += [
            f"| {row['call']} | `{row['where']}` | {_word(row)} |\n"
            for row in sorted(own, key=lambda row: (-row["passed"], -row["answered"]))
        ]
    return "".join(parts)


def _word(row: dict[str, Any]) -> str:
    return "used" if row["passed"] else "answered" if row["answered"] else "not offered"


if __name__ == "__main__":
    publish()
    sys.stdout.write(f"wrote {PUBLISHED.name} and {PAGE.name}\n")
