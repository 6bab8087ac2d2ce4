"""Functions of a project that serve: kept as they are when a spec is applied."""

from msgspec import Struct

from setpoint.artifacts.contract import ObjectStore
from setpoint.control.project import Project, active, code_hash, function
from setpoint.models.flavors import pickles


class Kept(Struct, frozen=True, kw_only=True):
    """A function of the project, kept as it is now."""

    address: str  #: of its pickle
    source: str  #: its name, and the hash of the code that it was made of


def keep(
    objects: ObjectStore, project: Project, code: str, *, where: str, was: Kept | None = None
) -> Kept:
    """Keep a function, unless it is as it was kept before.

    Raises:
        NotFound: If there is no such function.
        Invalid: If it cannot be pickled.
        UserCodeFailed: If importing it fails.
    """
    source = source_of(project, code)
    if was is not None and was.source == source:
        return was
    found = function(project, code, where=where)
    with active(project):
        return Kept(address=objects.put(pickles.dump(found)), source=source)


def source_of(project: Project, code: str) -> str:
    """Return what tells whether a function is still the same."""
    return f"{code} {code_hash(project, [code])}"
