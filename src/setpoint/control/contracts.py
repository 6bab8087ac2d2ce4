"""The data contracts of a project's sources."""

import msgspec
from blake3 import blake3

from setpoint.control.project import Project
from setpoint.control.spec.entities import Spec
from setpoint.data.contract import Contract, load_all


def contracts_of(project: Project, spec: Spec) -> dict[str, Contract]:
    """Return the contract of each source that has one, by the source's name.

    A contract of one table whose name is no source's is about the rows that are predicted.

    Raises:
        NotFound: If there is no such file.
        Invalid: If it is no contract.
    """
    if spec.data.contract is None:
        return {}
    found = load_all(project.path(spec.data.contract))
    if len(found) == 1 and not found.keys() & spec.data.source.keys():
        return {spec.data.rows: next(iter(found.values()))}
    return found


def personal_of(project: Project, spec: Spec) -> list[str]:
    """Return the columns of any source that its contract marks as personal, by name."""
    found = contracts_of(project, spec).values()
    return sorted({column for contract in found for column in contract.personal})


def required_of(project: Project, spec: Spec) -> list[str]:
    """Return the columns that, by contract, the rows that are predicted always have a value in."""
    found = contracts_of(project, spec).get(spec.data.rows)
    return sorted(found.required) if found is not None else []


def contracts_hash(project: Project, spec: Spec) -> str:
    """Return the identity of what the contracts check; "" where there are none.

    What the file says besides (descriptions, its version, its authors) changes nothing.
    """
    checked = {name: found.identity for name, found in contracts_of(project, spec).items()}
    return blake3(msgspec.json.encode(checked, order="sorted")).hexdigest() if checked else ""
