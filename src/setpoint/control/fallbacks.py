"""Functions that answer when a version fails: kept as they are when a spec is applied."""

from setpoint.artifacts.contract import ObjectStore
from setpoint.control.functions import Kept, keep, source_of
from setpoint.control.project import Project
from setpoint.control.spec.entities import Spec
from setpoint.control.spec.explain import Change
from setpoint.control.spec.graphs import GraphSpec
from setpoint.core.operations import Context
from setpoint.db.local import LocalBackend
from setpoint.serve import store as serving


def keep_fallback(
    home: LocalBackend, objects: ObjectStore, project: Project, spec: Spec | GraphSpec
) -> Kept | None:
    """Keep the function that a spec names as its fallback, unless it is; None: it names none.

    Raises:
        NotFound: If there is no such function.
        Invalid: If it cannot be pickled.
    """
    code = spec.serve.fallback.code
    if code is None:
        return None
    with home.reading() as conn:
        settings = serving.settings_of(conn, spec.model)
    was = Kept(address=settings.fallback_code, source=settings.fallback_source)
    return keep(objects, project, code, where=project.where(spec, "serve.fallback"), was=was)


def fallback_changed(ctx: Context, project: Project, spec: Spec | GraphSpec) -> list[Change]:
    """Return whether the code of a spec's fallback is another than the one that was kept."""
    code = spec.serve.fallback.code
    was = serving.settings_of(ctx.conn, spec.model).fallback_source
    if code is None or not was or was == source_of(project, code):
        return []
    return [Change(path="code of the fallback", before=was, after=source_of(project, code))]
