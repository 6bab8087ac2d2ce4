"""The shape of the house, where no linter looks: sizes, anatomy, where SQL is."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "setpoint"
MODULES = sorted(SOURCE.rglob("*.py"))

#: Modules of a domain package that may build statements; `db` and `core` lie below them.
SPEAK_SQL = {"store.py", "tables.py"}
#: The verbs of SQL: importing types such as `Connection` is no speaking.
VERBS = {"delete", "insert", "select", "text", "update"}


def name(module: Path) -> str:
    return module.relative_to(SOURCE).as_posix()


def imported(module: Path) -> Iterator[tuple[str, str]]:
    """Pairs of module and name, of every ``from … import …``."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)


def test_every_module_is_small_enough_to_be_read_at_once() -> None:
    written = [module for module in MODULES if module.parent.name != "versions"]  # those are made
    lines = {name(module): len(module.read_text().splitlines()) for module in written}
    assert not {module: size for module, size in lines.items() if size > 400}


def test_sql_is_in_stores() -> None:
    speaking = {
        name(module)
        for module in MODULES
        if module.name not in SPEAK_SQL
        and module.parent.name != "store"
        and not {"db", "core"} & set(module.relative_to(SOURCE).parts[:1])
        for source, what in imported(module)
        if source.partition(".")[0] == "sqlalchemy" and what in VERBS
    }
    others = {
        "events/chain.py",  # seals what `events/store.py` wrote
        "server/ui/history.py",  # what a page asks across domains: reads only, bounded
        "server/ui/queries.py",
        "server/ui/tallies.py",
        "transfer/mlflow_sql.py",  # reads tables that are MLflow's
    }
    assert not speaking - others


def test_the_readme_is_read_in_three_minutes() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 120
