"""``python -m bench [ONLY] [--dry]``: measure beside the peers, print a table, write results.json.

Every module here with a `NAME` and a ``run() -> list[dict]`` is a part. A row is ``work``,
``ours``, ``peer`` and ``ratio`` (how much less we take; None where there is no peer),
``peer_version`` and ``unit``; ``bar`` and ``met``, where something was set out to be reached.
Rows of parts that were not run are kept. ``--dry`` writes nothing: for a machine that others
use, too. ``load`` in a row is how many processes wanted to run before the part began.
"""

import importlib
import json
import os
import pkgutil
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results.json"


def main() -> int:
    console = Console()
    words = [word for word in sys.argv[1:] if word != "--dry"]
    only = words[0] if words else None
    modules = [
        importlib.import_module(f"bench.{found.name}")
        for found in pkgutil.iter_modules([str(Path(__file__).parent)])
        if found.name != "__main__"
    ]
    parts = {module.NAME: module for module in modules if hasattr(module, "NAME")}
    if only is not None and only not in parts:
        console.print(f"no bench {only!r}: there are {', '.join(parts)}")
        return 2
    rows = []
    for name, module in parts.items():
        if only in {None, name}:
            load = round(os.getloadavg()[0], 1)
            console.print(f"{name}: the load of the machine is {load} at the start")
            with console.status(f"measuring {name}"):
                found = module.run()
            rows += [{"part": name, **row, "load": load, **_here()} for row in found]
    console.print(_table(rows))
    if "--dry" not in sys.argv:
        _keep(rows)
        console.print(f"wrote {RESULTS.name}")
    return 0


def _here() -> dict[str, str]:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "machine": f"{os.cpu_count()} x {model}, Python {platform.python_version()}",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _keep(rows: list[dict[str, Any]]) -> None:
    old = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    measured = {row["part"] for row in rows}
    kept = [row for row in old if row["part"] not in measured]
    RESULTS.write_text(json.dumps(kept + rows, indent=2) + "\n")


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("work", "ours", "peer", "ratio", "bar", "unit", "beside")
    for row in rows:
        ratio = row.get("ratio")
        table.add_row(
            row["work"],
            _number(row["ours"]),
            _number(row.get("peer")),
            "" if ratio is None else f"{ratio:.1f}x",
            _bar(row),
            row["unit"],
            row.get("peer_version") or "",
        )
    return table


def _bar(row: dict[str, Any]) -> str:
    said = row.get("bar")
    return "" if said is None else f"{said}{'' if row['met'] else ' missed'}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"


if __name__ == "__main__":
    sys.exit(main())
