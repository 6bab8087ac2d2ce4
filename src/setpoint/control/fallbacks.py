"""Functions that answer when a version fails: kept as they are when a spec is applied."""

from setpoint.artifacts.contract import ObjectStore
from setpoint.control.policies import Kept
from setpoint.control.project import Project, active, code_hash, function
from setpoint.control.spec.entities import Spec
from setpoint.control.spec.explain import Change
from setpoint.core.operations import Context
from setpoint.db.local import LocalBackend
from setpoint.models.flavors import pickles
from setpoint.serve import store as serving


def keep_fallback(
    home: LocalBackend, objects: ObjectStore, project: Project, spec: Spec
) -> Kept | None:
    """Keep the function that a spec names as its fallback, unless it is; None: it names none.

    Raises:
        NotFound: If there is no such function.
        Invalid: If it cannot be pickled.
    """
    code = spec.serve.fallback.code
    if code is None:
        return None
    source = _source(project, code)
    with home.reading() as conn:
        was = serving.settings_of(conn, spec.model)
    if was.fallback_source == source:
        return Kept(address=was.fallback_code, source=source)
    found = function(project, code, where=project.where(spec))
    with active(project):
        return Kept(address=objects.put(pickles.dump(found)), source=source)


def fallback_changed(ctx: Context, project: Project, spec: Spec) -> list[Change]:
    """Return whether the code of a spec's fallback is another than the one that was kept."""
    code = spec.serve.fallback.code
    was = serving.settings_of(ctx.conn, spec.model).fallback_source
    if code is None or not was or was == _source(project, code):
        return []
    return [Change(path="code of the fallback", before=was, after=_source(project, code))]


def _source(project: Project, code: str) -> str:
    return f"{code} {code_hash(project, [code])}"
