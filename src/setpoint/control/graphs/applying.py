"""Planning and applying the graphs of a project."""

import json

from msgspec.structs import replace

from setpoint.artifacts.contract import ObjectStore
from setpoint.control import store as specs
from setpoint.control.fallbacks import fallback_changed, keep_fallback
from setpoint.control.functions import Kept, keep, source_of
from setpoint.control.graphs import composing, store
from setpoint.control.graphs.entities import AppliedGraph
from setpoint.control.plan import ModelPlan
from setpoint.control.policies import endpoint_settings, redaction_changed
from setpoint.control.project import Project, function
from setpoint.control.spec.explain import Change, changes
from setpoint.control.spec.graphs import GraphSpec, graph_of
from setpoint.control.spec.parse import canonical, hash_of
from setpoint.core.operations import Context
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict
from setpoint.events.store import record
from setpoint.models.names import split_version
from setpoint.releases import traffic
from setpoint.serve import store as serving


def plan(ctx: Context, project: Project, spec: GraphSpec) -> ModelPlan:
    """Return what `apply` would do with a graph; changes nothing."""
    _require_free(ctx, spec)
    was = store.applied(ctx.conn, spec.model)
    differ = [] if was is None else _differences(ctx, project, was, spec)
    kind = "create" if was is None else "update" if differ else "unchanged"
    return ModelPlan(
        model=spec.model,
        file=str(project.file(spec.model).path.absolute()),
        kind=kind,
        changes=differ,
        actions=_actions(ctx, was, spec, kind),
        drift=[] if was is None else _by_hand(ctx, was),
    )


def apply(home: LocalBackend, objects: ObjectStore, project: Project, spec: GraphSpec) -> None:
    """Put a graph in force, and make a version of it if its models are there.

    What cannot answer is not put in force.

    Raises:
        SetpointError: If it cannot be composed; nothing is changed then.
    """
    with home.reading() as conn:
        was = store.applied(conn, spec.model)
    functions = _kept(objects, project, spec, {} if was is None else was.functions)
    fallback = keep_fallback(home, objects, project, spec)
    with home.reading() as conn:
        settings = endpoint_settings(spec, _redacted_by_models(home.context(conn), spec), fallback)
        found = composing.find(home.context(conn), spec, functions)
    held = None
    if found.whole is not None:
        held = composing.prepare(home, objects, spec.model, found.whole)
    with home.engine.begin() as conn:
        ctx = home.context(conn)
        _require_free(ctx, spec)
        applied = AppliedGraph(
            model=spec.model,
            hash=hash_of(spec),
            content=json.loads(canonical(spec)),
            functions=functions,
            file=str(project.file(spec.model).path.absolute()),
            applied_at=ctx.now,
            applied_by=ctx.actor,
            tried="" if was is None else was.tried,
            version=None if was is None else was.version,
            problem="" if was is None else was.problem,
        )
        store.apply(conn, applied)
        serving.configure(conn, spec.model, settings)
        record(ctx, "graph.applied", f"model:{spec.model}", hash=applied.hash)
        if found.whole is not None and composing.is_due(applied, found):
            composing.put(ctx, applied, found.whole, held)


def redact(home: LocalBackend, spec: GraphSpec) -> None:
    """Have a graph in force log nothing that its models would not, once that is otherwise."""
    with home.engine.begin() as conn:
        ctx = home.context(conn)
        now = serving.settings_of(conn, spec.model)
        wanted = endpoint_settings(spec, _redacted_by_models(ctx, spec)).redact
        if now.redact != wanted:
            serving.configure(conn, spec.model, replace(now, redact=wanted))


def _redacted_by_models(ctx: Context, spec: GraphSpec) -> set[str]:
    """Return the inputs that are not logged of the models in a graph: not of the graph either."""
    models = {split_version(node.model)[0] for node in spec.graph.values() if node.model}
    return {name for model in models for name in serving.settings_of(ctx.conn, model).redact}


def check(project: Project, spec: GraphSpec) -> None:
    """Import what a graph names, so that a mistake shows before applying.

    Raises:
        NotFound: If it names what does not exist.
        UserCodeFailed: If importing fails.
    """
    for name, node in spec.graph.items():
        if node.transform is not None:
            where = project.where(spec, f"graph.{name}.transform")
            function(project, node.transform, where=where)
    if spec.serve.fallback.code is not None:
        where = project.where(spec, "serve.fallback")
        function(project, spec.serve.fallback.code, where=where)


def _require_free(ctx: Context, spec: GraphSpec) -> None:
    if specs.applied(ctx.conn, spec.model) is not None:
        raise Conflict(
            f"“{spec.model}” is a model that is trained here, and cannot be a graph too",
            hint="give the graph another name",
        )


def _kept(
    objects: ObjectStore, project: Project, spec: GraphSpec, was: dict[str, Kept]
) -> dict[str, Kept]:
    return {
        name: keep(
            objects,
            project,
            node.transform,
            where=project.where(spec, f"graph.{name}.transform"),
            was=was.get(name),
        )
        for name, node in spec.graph.items()
        if node.transform is not None
    }


def _differences(
    ctx: Context, project: Project, was: AppliedGraph, spec: GraphSpec
) -> list[Change]:
    old = composing.spec_of(was)
    found = changes(old, spec)
    for name, node in spec.graph.items():
        kept = was.functions.get(name)
        if node.transform is None or kept is None:
            continue
        if kept.source != (now := source_of(project, node.transform)):
            found.append(Change(path=f"code of {name}", before=kept.source, after=now))
    found += fallback_changed(ctx, project, spec)
    in_force, listed = serving.settings_of(ctx.conn, spec.model), old.serve.log.redact
    besides = _redacted_by_models(ctx, spec)
    found += redaction_changed(in_force, listed, spec, besides, "redacted by its models")
    file = str(project.file(spec.model).path.absolute())
    if was.file != file:
        found.append(Change(path="file", before=was.file, after=file))
    if was.hash != hash_of(spec) and not found:
        found.append(Change(path="spec", before=was.hash, after=hash_of(spec)))
    return found


def _actions(ctx: Context, was: AppliedGraph | None, spec: GraphSpec, kind: str) -> list[str]:
    """Say what follows; a function's version is not known before it is kept."""
    known = {} if was is None else was.functions
    graph = graph_of(spec)
    stand_in = {name: known.get(name, Kept(address="", source="")) for name in graph.nodes}
    found = composing.find(ctx, spec, stand_in)
    if found.whole is None and kind == "unchanged":
        return []
    if found.whole is None:
        return [f"wait for {found.waits}, then bring a version of the graph live"]
    if kind == "unchanged" and (was is None or not composing.is_due(was, found)):
        return []
    told = [part.version for part in found.whole.parts if part.model]
    made = f"make a version of {', '.join(told)}" if told else "make a version"
    return [f"{made}, and bring it live at once"]


def _by_hand(ctx: Context, was: AppliedGraph) -> list[str]:
    """Return whether people had another version answer than the one that was made last."""
    live = traffic.live(ctx, was.model)
    if was.version is None or live in (None, was.version):
        return []
    return [f"version {live} is live, and version {was.version} is what the graph meant last"]
