"""What is known about one thing, link by link; what is not there is said to be missing."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection

from setpoint.artifacts.contract import ObjectStore
from setpoint.artifacts.store import open_store
from setpoint.control import store
from setpoint.control.entities import Job
from setpoint.control.spec.units import format_percent
from setpoint.core.operations import Context
from setpoint.data import store as data
from setpoint.errors import Invalid, NotFound
from setpoint.events import store as events
from setpoint.models import rowset
from setpoint.models import store as models
from setpoint.models.entities import ModelVersion
from setpoint.monitor import store as monitor
from setpoint.releases import store as releases
from setpoint.releases.entities import Release, State
from setpoint.runs.entities import Code, Run
from setpoint.runs.store import runs
from setpoint.serve import store as serving

_DECIDED = {
    State.PROMOTED: "release.promoted",
    State.ROLLED_BACK: "release.rolled_back",
    State.HELD: "release.held",
}


class Link(Struct, frozen=True, kw_only=True):
    """One thing on the way from a subject to its causes."""

    kind: str  #: prediction, version, run, code, dataset, rows, gate, release, …
    id: str
    says: str  #: one line for people; of an incomplete link also what is missing
    at: datetime | None = None  #: when it came to be
    complete: bool = True  #: False: something it leads to is not there any more, or never was
    depth: int = 0  #: how far below the subject, for drawing


@dataclass(frozen=True, slots=True)
class Reader:
    """Where links are read from."""

    conn: Connection
    objects: ObjectStore
    tables: Path  #: of the Delta tables, one folder a dataset


def reader(ctx: Context) -> Reader:
    return Reader(ctx.conn, open_store(ctx.settings), ctx.settings.tables)


def under(links: Iterable[Link]) -> list[Link]:
    """Return links one step further below the subject."""
    return [replace(link, depth=link.depth + 1) for link in links]


def version(see: Reader, found: ModelVersion, *, before: datetime | None = None) -> list[Link]:
    """Return a version and everything it came from, then how it was judged and released.

    Args:
        see: Where to read.
        found: The version.
        before: It answered at this time, so a release must have started by then.
    """
    if found.parts:
        down = [_artifact(see, found), *_parts(see, found), *released(see, found, before)]
        return [version_link(found), *under(down)]
    down = [_artifact(see, found), *_training(see, found)]
    if found.run_id or found.datasets or found.rows:
        down += _made_of(see, found)
    else:
        ref = f"{found.model}/{found.number}"
        down.append(missing("training", ref, "it was elsewhere: nothing on record says on what"))
    down += [*judged(found), *released(see, found, before)]
    return [version_link(found), *under(down)]


def _made_of(see: Reader, found: ModelVersion) -> list[Link]:
    """Return the run of a version that was trained here, and the data that it read."""
    run = runs.find(see.conn, found.run_id)
    if run is None:
        down = [missing("run", found.run_id, "the run is not on record")]
    else:
        down = [run_link(run), _code(see, run), _environment(see, run)]
    down += [*_spec(see, found), *datasets(see, found.datasets), _rows(see, found)]
    return [*down, *validations(see, found.datasets)]


def _parts(see: Reader, found: ModelVersion) -> list[Link]:
    """Return what the nodes of a graph are, and of the versions among them where they come from."""
    links: list[Link] = []
    for part in found.parts:
        if part.function:
            gone = [] if has(see, part.function) else ["the function"]
            links.append(_link("code", part.source, f"the function of node {part.node}", gone))
            continue
        one = find_version(see, part.model, part.number)
        if one is None:
            name = f"{part.model}/{part.number}"
            links.append(missing("version", name, f"node {part.node} is not on record"))
        else:
            links += version(see, one)
    return links


def version_link(found: ModelVersion) -> Link:
    made = "made" if found.parts else "trained"
    says = f"{found.flavor}, {made} because: {found.why}"
    return Link(kind="version", id=f"{found.model}/{found.number}", says=says, at=found.created_at)


def find_version(see: Reader, model: str, number: int) -> ModelVersion | None:
    try:
        return models.get(see.conn, model, number)
    except NotFound:
        return None


def run_link(run: Run) -> Link:
    says = f"{run.status}, experiment {run.experiment}, by {run.actor or 'nobody named'}"
    if run.error:
        says += f": {run.error.splitlines()[0]}"
    return Link(kind="run", id=run.id, says=says, at=run.started_at)


def run(see: Reader, found: Run) -> list[Link]:
    """Return a run, its code, environment, artifacts and inputs."""
    down = [_code(see, found), _environment(see, found)]
    if found.artifacts:
        gone = [name for name, left in found.artifacts.items() if not has(see, left.address)]
        says = f"{len(found.artifacts):,} recorded"
        down.append(_link("artifacts", found.ref, says, gone))
    if found.inputs:
        down += [*datasets(see, found.inputs), *validations(see, found.inputs)]
    return [run_link(found), *under(down)]


def datasets(see: Reader, named: dict[str, int]) -> list[Link]:
    """Return the dataset versions; without any, that none were recorded."""
    if not named:
        return [missing("dataset", "-", "no dataset version was recorded")]
    return [dataset(see, name, number) for name, number in named.items()]


def dataset(see: Reader, name: str, number: int) -> Link:
    ref = f"{name}/{number}"
    try:
        found = data.get(see.conn, name, number)
    except NotFound:
        return missing("dataset", ref, "this dataset version is not on record")
    log = see.tables / name / "_delta_log" / f"{found.delta_version:020d}"
    kept = any(Path(f"{log}{end}").exists() for end in (".json", ".checkpoint.parquet"))
    says = f"{found.rows:,} rows, {found.added:,} new, known by {found.until:%Y-%m-%d %H:%M}"
    return _link("dataset", ref, says, [] if kept else ["its table"], found.created_at)


def validations(see: Reader, named: dict[str, int]) -> list[Link]:
    return [validation(see, name, number) for name, number in named.items()]


def validation(see: Reader, name: str, number: int) -> Link:
    try:
        found = data.validation(see.conn, name, number)
    except NotFound:
        return missing("validation", f"{name}/{number}", "no report on its rows is on record")
    failing = [check.name for check in found.checks if not check.passed]
    verdict = f"failing: {', '.join(failing[:3])}" if failing else "all passed"
    says = f"{name}/{number}: {len(found.checks)} checks, {verdict}"
    says += f"; {found.set_aside:,} set aside"
    kept = found.failing_rows is None or has(see, found.failing_rows)
    return _link("validation", found.id, says, [] if kept else ["the rows set aside"], found.at)


def judged(found: ModelVersion) -> list[Link]:
    """Return the gate of a version, and who overrode it."""
    ref = f"{found.model}/{found.number}"
    if found.gate is None:
        links = [Link(kind="gate", id=ref, says="no gate was run", complete=not found.spec)]
    else:
        failing = ", ".join(check.name for check in found.gate.failing)
        says = f"refused: {failing}" if not found.gate.passed else "passed"
        links = [Link(kind="gate", id=ref, says=f"{says} ({len(found.gate.checks)} checks)")]
    if (over := found.override) is not None:
        says = f"overrode the gate: {over.reason}"
        links.append(Link(kind="decision", id=over.actor, says=says, at=over.at, depth=1))
    return links


def released(see: Reader, found: ModelVersion, before: datetime | None = None) -> list[Link]:
    """Return the releases of a version with who decided, newest first.

    Of a version that answered `before` a time only the release that let it.
    """
    all_of_it = releases.of_version(see.conn, found.model, found.number)
    ref = f"{found.model}/{found.number}"
    if before is not None:
        all_of_it = [one for one in all_of_it if one.started_at <= before][:1]
        if not all_of_it:
            return [missing("release", ref, "no release that let it answer is on record")]
    if not all_of_it:
        if _was_deployed(see, found):
            return [missing("release", ref, "it was deployed, by no release on record")]
        return [Link(kind="release", id="-", says="not released")]
    return [link for one in all_of_it for link in release(see, one)]


def release(see: Reader, found: Release) -> list[Link]:
    """Return a release, who approved of it or did not, and who decided it."""
    said = found.state.replace("_", " ")
    moved = f"{found.model} {found.from_version or '-'} → {found.version}"
    says = f"{moved}, {said}: {found.verdict_why}"
    link = Link(kind="release", id=found.id, says=says.rstrip(": "), at=found.started_at)
    down = _approval(found)
    if found.state not in (State.WAITING, State.REJECTED) and not _by_approval(found):
        down.append(_decision(see, found))
    return [link, *under(down)]


def _by_approval(found: Release) -> bool:
    """Tell whether the approval alone brought a model's first version live."""
    return found.approval is not None and found.from_version is None


def _approval(found: Release) -> list[Link]:
    answer = found.approval
    if answer is not None:
        did = "approved" if answer.given else "rejected"
        says = f"{did} it as {answer.role}: {answer.reason}"
        return [Link(kind="approval", id=answer.by, says=says, at=answer.at)]
    if found.state is State.WAITING:
        says = f"waits for approval by {' or '.join(found.policy.approvers)}"
        return [Link(kind="approval", id="-", says=says)]
    return []


def _decision(see: Reader, found: Release) -> Link:
    kind = _DECIDED.get(found.state, "release.started")
    event = next(iter(events.newest(see.conn, found.ref, kind)), None)
    if event is None and found.at_once:  # a first version goes live by being started
        kind = "release.started"
        event = next(iter(events.newest(see.conn, found.ref, kind)), None)
    if event is None:
        said = found.state.replace("_", " ")
        return missing("decision", found.id, f"no event says who made it {said}")
    if found.override_by and event.actor == found.override_by:
        says = f"decided in person: {found.override_reason}"
    elif found.at_once and kind == "release.promoted":
        says = f"put it live at once: {found.verdict_why}"
    else:
        proof = "" if found.state is not State.PROMOTED or found.proven else ", not proven"
        says = f"{kind.partition('.')[2].replace('_', ' ')} it by the rules{proof}"
    return Link(kind="decision", id=event.actor, says=says, at=event.at)


def alarm(see: Reader, alarm_id: str) -> Link:
    try:
        found = monitor.alarm(see.conn, alarm_id)
    except NotFound:
        return missing("alarm", alarm_id, "this alarm is not on record")
    says = f"{found.monitor}, {found.state}: {found.text}"
    return Link(kind="alarm", id=found.id, says=says, at=found.opened_at)


def job(found: Job) -> Link:
    ended = f"{found.state}: {found.outcome}" if found.outcome else found.state
    return Link(kind="training", id=found.id, says=f"{found.why}; {ended}", at=found.requested_at)


def predictions(see: Reader, model: str, number: int, *, at_most: int) -> Link:
    """Return how many predictions a version answered (up to a limit), and some ids."""
    count, some = serving.tally(see.conn, model, number, at_most=at_most)
    many = f"{count:,}{' or more' if count == at_most else ''} answered"
    says = f"{many}, e.g. {', '.join(some)}" if some else "none answered"
    share = serving.settings_of(see.conn, model).sample
    says += "" if share >= 1 else f" (of those logged: {format_percent(share)} are now)"
    return Link(kind="predictions", id=f"{model}/{number}", says=says)


def missing(kind: str, name: str, says: str) -> Link:
    return Link(kind=kind, id=name, says=says, complete=False)


def has(see: Reader, address: str) -> bool:
    """Tell whether an artifact is there; what is no address is not."""
    try:
        return see.objects.has(address)
    except Invalid:
        return False


def _artifact(see: Reader, found: ModelVersion) -> Link:
    forms = {f"native ({found.flavor})": found.artifact}
    if found.onnx:
        forms["compiled (ONNX)"] = found.onnx
    if found.reference:
        forms["profile reference"] = found.reference
    gone = [f"the {name}" for name, address in forms.items() if not has(see, address)]
    return _link("artifact", found.artifact, ", ".join(forms), gone)


def _training(see: Reader, found: ModelVersion) -> list[Link]:
    asked = store.job_of_version(see.conn, found.model, found.number)
    if asked is not None:
        cause = [] if asked.cause is None else under([alarm(see, asked.cause)])
        return [job(asked), *cause]
    if found.spec:  # only the controller registers with the spec in force
        ref = f"{found.model}/{found.number}"
        return [missing("training", ref, "the request to train it is not on record")]
    return []


def _code(see: Reader, found: Run) -> Link:
    code = found.code
    if code is None or not (code.commit or code.snapshot):
        return missing("code", found.ref, "the run recorded no code")
    says, gone = [], []
    if code.commit:
        says.append(f"commit {code.commit[:12]}{' with changes' if code.dirty else ''}")
    if code.dirty and (code.diff is None or not has(see, code.diff)):
        gone.append("the difference from the commit")
    if code.snapshot:
        says.append(f"snapshot of {code.files} files")
        gone += _snapshot(see, code)
    return _link("code", code.commit or code.snapshot or "", ", ".join(says), gone)


def _snapshot(see: Reader, code: Code) -> list[str]:
    try:
        content = see.objects.get(code.snapshot or "")
        manifest = msgspec.json.decode(content, type=dict[str, str])
    except (NotFound, Invalid, msgspec.MsgspecError):
        return ["the snapshot"]
    return [name for name, address in manifest.items() if not has(see, address)]


def _environment(see: Reader, found: Run) -> Link:
    if found.environment is None:
        return missing("environment", found.ref, "the run recorded no environment")
    gone = [] if has(see, found.environment) else ["its description"]
    return _link("environment", found.environment, "interpreter and distributions", gone)


def _spec(see: Reader, found: ModelVersion) -> list[Link]:
    if not found.spec:
        return []  # registered by hand: there was none
    gone = [] if has(see, found.spec) else ["the spec"]
    return [_link("spec", found.spec, "in force when it was trained", gone)]


def _rows(see: Reader, found: ModelVersion) -> Link:
    if found.rows is None:
        ref = f"{found.model}/{found.number}"
        return missing("rows", ref, "its training rows were not recorded")
    try:
        count = rowset.count(partial(see.objects.read, found.rows))
    except (NotFound, Invalid):
        return missing("rows", found.rows, "the ids of its training rows are gone")
    return Link(kind="rows", id=found.rows, says=f"{count:,} training rows, by id")


def _was_deployed(see: Reader, found: ModelVersion) -> bool:
    deployed = serving.deployments(see.conn, found.model)
    if any(one.version == found.number for one in deployed):
        return True
    moves = events.newest(see.conn, found.ref, "model.alias_moved", limit=100)
    return any(move.detail.get("alias") == "live" for move in moves)


def _link(kind: str, name: str, says: str, gone: list[str], at: datetime | None = None) -> Link:
    if gone:
        more = f" and {len(gone) - 3} more" if len(gone) > 3 else ""
        says = f"{says}; missing: {', '.join(gone[:3])}{more}"
    return Link(kind=kind, id=name, says=says, at=at, complete=not gone)
