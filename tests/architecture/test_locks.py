"""The locks: versions and hashes, nothing about where anyone downloads from."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*"))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())

PIN = re.compile(r"^([a-z0-9.-]+)==(\S+)(?: ; .+)? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}(?: \\)?$")


def pins(lock: str) -> dict[str, set[str]]:
    """Versions by package: more than one where Python versions need different ones."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / "requirements" / lock).read_text().splitlines():
        if match := PIN.match(line):
            found.setdefault(canonicalize_name(match[1]), set()).add(match[2])
    return found


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_holds_pins_and_hashes_only(lock: Path) -> None:
    lines = lock.read_text().splitlines()
    odd = [line for line in lines if not (PIN.match(line) or HASH.match(line))]
    assert lines
    assert not odd


def test_the_npm_lock_has_a_hash_for_every_package_and_no_address() -> None:
    lock = json.loads((ROOT / "frontend" / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages
    assert not [name for name, entry in packages.items() if "integrity" not in entry]
    assert not [name for name, entry in packages.items() if "resolved" in entry]


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("lock.txt", PROJECT["project"]["dependencies"]),
        ("build.lock", PROJECT["build-system"]["requires"]),
        ("dev.lock", PROJECT["project"]["dependencies"]),
        ("dev.lock", PROJECT["dependency-groups"]["test"]),
        ("dev.lock", PROJECT["dependency-groups"]["check"]),
    ],
)
def test_a_lock_satisfies_what_the_project_asks_for(lock: str, wanted: list[str]) -> None:
    locked = pins(lock)
    for requirement in map(Requirement, wanted):
        versions = locked.get(canonicalize_name(requirement.name), set())
        assert versions, f"{requirement} is not in {lock}: run `make lock`"
        assert all(requirement.specifier.contains(version) for version in versions)


@pytest.mark.parametrize("lock", ["lock.txt", "build.lock"])
def test_tests_run_on_the_versions_that_users_get(lock: str) -> None:
    everything = pins("dev.lock")
    assert {name: everything.get(name) for name in pins(lock)} == pins(lock)
