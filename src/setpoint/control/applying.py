"""Planning and applying the specs of a project."""

import json

from setpoint.artifacts.contract import address_of
from setpoint.artifacts.store import open_store
from setpoint.control import decide as deciding
from setpoint.control import store
from setpoint.control.consequences import consequences
from setpoint.control.contracts import contracts_hash, contracts_of, personal_of, required_of
from setpoint.control.decide import Action, Observed
from setpoint.control.entities import Applied
from setpoint.control.fallbacks import fallback_changed, keep_fallback
from setpoint.control.graphs import applying as graphs
from setpoint.control.graphs import following
from setpoint.control.graphs import store as graph_store
from setpoint.control.making import training_hash
from setpoint.control.observe import observe
from setpoint.control.plan import ModelPlan, Plan
from setpoint.control.policies import (
    approvers,
    endpoint_settings,
    redaction_changed,
    required_changed,
)
from setpoint.control.project import Project, code_hash, code_of, function
from setpoint.control.spec.enforced import unenforced
from setpoint.control.spec.entities import Spec
from setpoint.control.spec.explain import Change, changes
from setpoint.control.spec.parse import canonical, from_document, hash_of
from setpoint.core.operations import Context
from setpoint.data import place
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, SetpointError
from setpoint.events.store import record
from setpoint.releases import store as releases
from setpoint.releases.entities import Release, State
from setpoint.releases.transitions import layout
from setpoint.serve import store as serving


def plan(home: LocalBackend, project: Project) -> Plan:
    """Return what `apply` would do with each model of a project; changes nothing.

    Raises:
        NotFound: If a spec names a function or file that does not exist.
        UserCodeFailed: If the project's code cannot be imported.
    """
    with home.reading() as conn:
        ctx = home.context(conn)
        models = [_plan(ctx, project, spec) for spec in project.specs]
        return Plan(models=models + [graphs.plan(ctx, project, each) for each in project.graphs])


def apply(home: LocalBackend, project: Project) -> Plan:
    """Put the specs of a project in force; return what changed.

    Doing it again changes nothing. What follows from a spec (training, releases) is the
    controller's work.

    Raises:
        Conflict: If the datasets of this database are files of another machine.
    """
    objects = open_store(home.settings)
    found = plan(home, project)
    kinds = {planned.model: planned for planned in found.models}
    if any(kinds[spec.model].kind != "unchanged" for spec in project.specs):
        place.claim(home.engine, home.settings, home.clock.now())
    for spec in project.specs:
        planned = kinds[spec.model]
        if planned.kind == "unchanged":
            continue
        objects.put(canonical(spec))
        kept = keep_fallback(home, objects, project, spec)
        required = required_of(project, spec)
        settings = endpoint_settings(spec, personal_of(project, spec), kept, required)
        with home.engine.begin() as conn:
            ctx = home.context(conn)
            store.apply(conn, _applied(ctx, project, spec))
            serving.configure(conn, spec.model, settings)
            differ = {change.path: [change.before, change.after] for change in planned.changes}
            record(
                ctx,
                "spec.applied",
                f"model:{spec.model}",
                hash=hash_of(spec),
                changes=differ,
            )
    for graph in project.graphs:
        if kinds[graph.model].kind != "unchanged" or kinds[graph.model].actions:
            graphs.apply(home, objects, project, graph)
        else:
            graphs.redact(home, graph)  # a model of it was just applied, maybe
    return found


def unsettled(home: LocalBackend, models: set[str]) -> str:
    """Say what is left to do at once for the first of `models` that has any; "" if none.

    A release that waits for traffic is settled: there is nothing to do about it now.
    """
    with home.reading() as conn:
        ctx = home.context(conn)
        for applied in store.all_applied(conn):
            if applied.model not in models:
                continue
            action = deciding.decide(observe(ctx, applied), ctx.now)
            if action is not None:
                return f"{applied.model}: {in_words(action)}"
        due = following.due(ctx, models)
    return f"{due[0]}: make a version of what is in it now" if due else ""


def check(project: Project) -> None:
    """Import or read everything that the specs name, so that a mistake shows before applying.

    Raises:
        NotFound: If a spec names what does not exist.
        UserCodeFailed: If importing fails.
    """
    for spec in project.specs:
        for code in code_of(spec):
            function(project, code, where=project.where(spec))
        if spec.serve.fallback.code is not None:
            function(project, spec.serve.fallback.code, where=project.where(spec))
        contracts_of(project, spec)
    for graph in project.graphs:
        graphs.check(project, graph)


def _plan(ctx: Context, project: Project, spec: Spec) -> ModelPlan:
    if graph_store.applied(ctx.conn, spec.model) is not None:
        raise Conflict(
            f"“{spec.model}” is a graph here, and cannot be a model that is trained too",
            hint="give one of them another name",
        )
    was = store.applied(ctx.conn, spec.model)
    new = _applied(ctx, project, spec)
    differ = _differences(project, was, new, spec) if was else []
    if was:
        differ += _contracted(ctx, project, was, spec)
        differ += fallback_changed(ctx, project, spec)
    kind = "create" if was is None else "update" if differ else "unchanged"
    seen = observe(ctx, new)
    return ModelPlan(
        model=spec.model,
        file=new.file,
        kind=kind,
        changes=differ,
        actions=_actions(seen, ctx),
        drift=by_hand(ctx, was) if was else [],
        unenforced=unenforced(spec),
        consequences=consequences(spec, personal_of(project, spec), seen.live_inputs),
    )


def _contracted(ctx: Context, project: Project, was: Applied, spec: Spec) -> list[Change]:
    """Return what the contract changes: about what is logged, beside the spec's own list, and about
    what requests may lack.
    """
    in_force = serving.settings_of(ctx.conn, spec.model)
    listed = was.content.get("serve", {}).get("log", {}).get("redact", [])
    personal = personal_of(project, spec)
    redacted = redaction_changed(in_force, listed, spec, personal, "redacted by contract")
    return [*redacted, *required_changed(in_force, required_of(project, spec))]


def _differences(project: Project, was: Applied, new: Applied, spec: Spec) -> list[Change]:
    """Return what is not as it was applied: keys, code, the file, a spec edited by hand."""
    try:
        old = from_document(was.content)
    except SetpointError:  # edited in the database
        return [Change(path="spec", before=was.hash, after=new.hash)]
    found = changes(old, spec)
    before, after = was.training.partition("+"), new.training.partition("+")
    if before[0] != after[0] and _code_changed(project, old, was, quiet=not found):
        found.append(Change(path="code", before=before[0], after=after[0]))
    if before[2] != after[2] and old.data.contract == spec.data.contract:
        found.append(Change(path="contract", before=before[2], after=after[2]))
    if was.file != new.file:
        found.append(Change(path="file", before=was.file, after=new.file))
    if was.hash != new.hash and not found:
        found.append(Change(path="spec", before=was.hash, after=new.hash))
    return found


def _code_changed(project: Project, old: Spec, was: Applied, *, quiet: bool) -> bool:
    """Tell whether the old spec with the present code would make other versions."""
    if quiet:
        return True  # no key differs, so it is the code
    try:
        now = training_hash(old, code_hash(project, code_of(old)), "")
        return now != was.training.partition("+")[0]
    except SetpointError:  # what the old spec names is not there any more
        return True


def _applied(ctx: Context, project: Project, spec: Spec) -> Applied:
    code = code_hash(project, code_of(spec))
    return Applied(
        model=spec.model,
        hash=hash_of(spec),
        content=json.loads(canonical(spec)),
        address=address_of(canonical(spec)),
        training=training_hash(spec, code, contracts_hash(project, spec)),
        file=str(project.file(spec.model).path.absolute()),
        applied_at=ctx.now,
        applied_by=ctx.actor,
    )


def in_words(action: Action) -> str:
    """Say what an action does."""
    if isinstance(action, deciding.Train):
        return f"train a version ({action.why}) and check it at the gate"
    if isinstance(action, deciding.Run):
        return f"finish the training that was requested ({action.job.why})"
    if isinstance(action, deciding.GoLive):
        return f"bring version {action.version} live"
    if isinstance(action, deciding.StartRelease):
        return f"release version {action.version} in stages"
    return f"go on with the release of version {action.release.version}"


def _actions(seen: Observed, ctx: Context) -> list[str]:
    action = deciding.decide(seen, ctx.now)
    if action is None:
        return []
    words = [in_words(action)]
    coming = isinstance(action, deciding.Train | deciding.Run)
    if not coming and not isinstance(action, deciding.GoLive | deciding.StartRelease):
        return words
    differs = (seen.spec_address, seen.training) != (seen.live_spec, seen.live_training)
    changed = differs if coming else seen.candidate_changed
    if roles := approvers(seen.spec, changed=changed):
        waits = f"wait for approval by {' or '.join(roles)}, before it sees any traffic"
        words.insert(1 if coming else 0, waits)
    if coming:
        first = seen.live is None
        words.append("bring it live" if first else "release it in stages beside the live version")
    return words


def by_hand(ctx: Context, applied: Applied) -> list[str]:
    """Return what people changed outside the spec since it was applied, in words."""
    found = []
    for release in releases.ls(ctx.conn, applied.model, limit=20):
        decided = (
            release.override_by and (release.ended_at or release.stage_since) >= applied.applied_at
        )
        if decided:
            what = release.state.replace("_", " ")
            found.append(
                f"release {release.id} of version {release.version} was {what} by "
                f"{release.override_by}: {release.override_reason}"
            )
    found += _edited(applied)
    open_release = releases.current(ctx.conn, applied.model)
    found += _deployed(ctx, applied.model, open_release)
    if open_release is not None and open_release.state is State.HELD:
        found.append(f"release {open_release.id} is held: {open_release.verdict_why}")
    return found


def _edited(applied: Applied) -> list[str]:
    """Return whether somebody changed the spec in force in the database."""
    try:
        same = hash_of(from_document(applied.content)) == applied.hash
    except SetpointError as error:
        return [f"the spec in force was edited in the database and cannot be read: {error.message}"]
    return (
        [] if same else ["the spec in force was edited in the database; apply restores the file's"]
    )


def _deployed(ctx: Context, model: str, release: Release | None) -> list[str]:
    """Return how what serves differs from what the newest release left."""
    newest = releases.ls(ctx.conn, model, limit=1)
    serves = serving.deployments(ctx.conn, model)
    if not newest:
        return [f"version {d.version} is deployed as {d.role} by no release" for d in serves]
    wanted = {(d.version, d.role): d.weight for d in layout(release or newest[0])}
    actual = {(d.version, d.role): d.weight for d in serves}
    found = []
    for (version, role), weight in sorted(actual.items()):
        if (version, role) not in wanted:
            found.append(f"version {version} is deployed as {role} by no release")
        elif abs(weight - wanted[version, role]) > 1e-9:
            share = wanted[version, role]
            found.append(
                f"version {version} is deployed as {role} with {weight:.0%} of the traffic; "
                f"its release gave it {share:.0%}"
            )
    for version, role in sorted(wanted.keys() - actual.keys()):
        found.append(f"version {version} is not deployed as {role}, as its release left it")
    return found
