"""Why something is as it is: from anything Setpoint made to what it came from, and back.

Every look-up goes by an index and has a limit, so an answer takes milliseconds however
many predictions there are. Nothing is guessed: a link that leads nowhere says so.
"""

from collections.abc import Callable
from functools import partial

from msgspec import Struct
from sqlalchemy import Connection

from setpoint.control import lineage, store
from setpoint.control.entities import Job, JobState
from setpoint.control.lineage import Link, Reader, under
from setpoint.control.unknown import unknown_prediction
from setpoint.core.operations import Context, operation
from setpoint.errors import Invalid, NotFound
from setpoint.events import store as events
from setpoint.models import rowset
from setpoint.models import store as models
from setpoint.models.store import Origin
from setpoint.monitor import store as monitor
from setpoint.monitor.entities import Alarm, AlarmState
from setpoint.monitor.rules import DRIFT
from setpoint.releases import store as releases
from setpoint.runs.store import runs
from setpoint.serve import store as serving
from setpoint.serve.entities import Prediction

_COUNTED = 10_000  #: predictions, over all versions of one answer
_VERSIONS = 2_000  #: looked through for a row or a dataset version, the newest
_SHOWN = 20  #: versions shown of those found


class Why(Struct, frozen=True, kw_only=True):
    #: A prediction's id, alm_…, rel_…, run_…, MODEL/NUMBER, dataset:NAME/NUMBER or row:ID;
    #: ``prediction:ID`` where a prediction's id looks like one of the others
    id: str
    model: str | None = None  #: of the prediction, where several models have its id


class Trace(Struct, frozen=True, kw_only=True):
    subject: str  #: ``kind:id`` of what was asked for
    links: list[Link]  #: the subject first, each thing before what it came from
    incomplete: list[str]  #: what is missing, in words; empty: the trace is whole


@operation("why.trace", needs="lineage:read")
def trace(ctx: Context, cmd: Why) -> Trace:
    """Trace a prediction, version, run, release, alarm, dataset version or row."""
    see = lineage.reader(ctx)
    subject, links = _find(see, cmd)
    broken = [f"{one.kind} {one.id}: {one.says}" for one in links if not one.complete]
    return Trace(subject=subject, links=links, incomplete=broken)


def _find(see: Reader, cmd: Why) -> tuple[str, list[Link]]:
    """Return what an id means; what looks like something else may be a prediction's id."""
    if not cmd.id or not _storable(cmd.id):
        raise NotFound("nothing has this id", hint=_HINT)
    kind, name = _meaning(cmd.id)
    if kind == "prediction":
        return _prediction(see, name, cmd.model)
    try:
        return f"{kind}:{name}", _SUBJECTS[kind](see, name)
    except NotFound:
        if not serving.named(see.conn, cmd.id, cmd.model):
            raise
        return _prediction(see, cmd.id, cmd.model)


_HINT = (
    "give the id of a prediction, alm_…, rel_…, run_…, MODEL/NUMBER, dataset:NAME/NUMBER or row:ID"
)
_PREFIXES = {"alm_": "alarm", "rel_": "release", "run_": "run"}


def _meaning(text: str) -> tuple[str, str]:
    kind, colon, name = text.partition(":")
    if colon and kind in {*_SUBJECTS, "prediction"} and name:
        return kind, name
    if text[:4] in _PREFIXES:
        return _PREFIXES[text[:4]], text
    _, slash, number = text.rpartition("/")
    if slash and number.isascii() and number.isdigit():
        return "version", text
    return "prediction", text


def _storable(text: str) -> bool:
    """Tell whether a database can hold this text: no NUL, no half of a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _prediction(see: Reader, name: str, model: str | None) -> tuple[str, list[Link]]:
    found = serving.named(see.conn, name, model)
    if not found:
        hint = f"it is indexed within a second of its answer; or {_HINT}"
        raise unknown_prediction(see.conn, name, model, hint=hint)
    if len(found) > 1:
        raise Invalid(
            f"{len(found)} models have a prediction {name!r}",
            hint="name one with --model: " + ", ".join(one.model for one in found),
        )
    one = found[0]
    links = [_prediction_link(one)]
    version = lineage.find_version(see, one.model, one.version)
    ref = f"{one.model}/{one.version}"
    if version is None:
        links += under([lineage.missing("version", ref, "this version is not on record")])
    else:
        links += under(lineage.version(see, version, before=one.at))
    return f"prediction:{name}", links


def _prediction_link(one: Prediction) -> Link:
    role = f"{one.role} {one.arm}" if one.arm else str(one.role)
    score = "nothing" if one.score is None else f"{one.score:.4g}"
    says = f"{one.model}/{one.version} ({role}) answered {score}"
    if one.other_version is not None and one.other_score is not None:
        says += f", version {one.other_version} would have said {one.other_score:.4g}"
    says += ", no label yet" if one.label is None else f", label {one.label:g}"
    return Link(kind="prediction", id=one.id, says=says, at=one.at)


def _version(see: Reader, name: str) -> list[Link]:
    model, number = _numbered(name)
    links = lineage.version(see, models.get(see.conn, model, number))
    return [*links, *under([lineage.predictions(see, model, number, at_most=_COUNTED)])]


def _run(see: Reader, name: str) -> list[Link]:
    links = lineage.run(see, runs.get(see.conn, name))
    for version in models.of_run(see.conn, name)[:_SHOWN]:
        made = [*lineage.judged(version), *lineage.released(see, version)]
        links += under([lineage.version_link(version), *under(made)])
    return links


def _release(see: Reader, name: str) -> list[Link]:
    found = releases.get(see.conn, name)
    links = lineage.release(see, found)
    for number in (found.version, found.from_version):
        if number is None:
            continue
        version = lineage.find_version(see, found.model, number)
        if version is None:
            ref = f"{found.model}/{number}"
            links += under([lineage.missing("version", ref, "this version is not on record")])
        elif number == found.version:
            chain = lineage.version(see, version)
            links += under(one for one in chain if not _told(one, found.id, chain))
        else:
            links += under([lineage.version_link(version)])
    return links


def _told(link: Link, release: str, chain: list[Link]) -> bool:
    """Tell whether a link of a version is the release asked for, or its decision."""
    at = next((i for i, one in enumerate(chain) if one.id == release), None)
    return at is not None and link in chain[at : at + 2]


def _alarm(see: Reader, name: str) -> list[Link]:
    found = monitor.alarm(see.conn, name)
    links = [lineage.alarm(see, name), *under(_grounds(found))]
    version = lineage.find_version(see, found.model, found.version)
    ref = f"{found.model}/{found.version}"
    about = (
        lineage.missing("version", ref, "this version is not on record")
        if version is None
        else lineage.version_link(version)
    )
    links += under([about])
    caused = store.jobs_caused(see.conn, name)
    answers = [link for job in caused for link in _answer(see, job)]
    return links + under(answers or [_unanswered(see.conn, found)])


def _grounds(found: Alarm) -> list[Link]:
    facts = ", ".join(
        f"{key} {_short(value)}" for key, value in found.evidence.items() if _plain(value)
    )
    links = [
        Link(kind="evidence", id=found.monitor, says=facts, at=found.seen_at)
        if found.evidence
        else lineage.missing("evidence", found.monitor, "no evidence was recorded")
    ]
    if found.attribution:
        shares = ", ".join(f"{column} {share:.0%}" for column, share in found.attribution[:5])
        links.append(Link(kind="attribution", id=found.monitor, says=shares))
    elif found.monitor == DRIFT:
        says = "no shares of the columns were recorded"
        links.append(lineage.missing("attribution", found.monitor, says))
    if found.by:
        did = "closed" if found.state is AlarmState.CLOSED else "acknowledged"
        says = f"{did} it: {found.reason}"
        links.append(Link(kind="decision", id=found.by, says=says, at=found.closed_at))
    return links


def _answer(see: Reader, job: Job) -> list[Link]:
    if job.version is None:
        if job.state in {JobState.REGISTERED, JobState.REFUSED}:
            says = "the training made one, and its number is not on record"
            return [lineage.job(job), *under([lineage.missing("version", job.model, says)])]
        return [lineage.job(job)]
    version = lineage.find_version(see, job.model, job.version)
    if version is None:
        ref = f"{job.model}/{job.version}"
        gone = lineage.missing("version", ref, "this version is not on record")
        return [lineage.job(job), *under([gone])]
    made = [*lineage.judged(version), *lineage.released(see, version)]
    return [lineage.job(job), *under([lineage.version_link(version), *under(made)])]


def _unanswered(conn: Connection, found: Alarm) -> Link:
    """Return that an alarm caused no training, unless the record says that it did."""
    asked = events.newest(conn, f"model:{found.model}", "training.requested", limit=500)
    lost = next((one for one in asked if one.detail.get("cause") == found.id), None)
    if lost is None:
        return Link(kind="training", id="-", says="it caused none")
    name = str(lost.detail.get("job"))
    return lineage.missing("training", name, "the training it caused is not on record")


def _dataset(see: Reader, name: str) -> list[Link]:
    dataset, number = _numbered(name)
    link = lineage.dataset(see, dataset, number)
    trained, links = _origins(see)
    found = [one for one in trained if one.datasets.get(dataset) == number]
    if not link.complete and link.at is None and not found:
        raise NotFound(f"no dataset version {name}", hint="list them with: setpoint data ls")
    links = [link, *under([lineage.validation(see, dataset, number), *links])]
    return links + under(_trained(see, found))


def _row(see: Reader, name: str) -> list[Link]:
    trained, links = _origins(see)
    found, known = [], dict[str, bool]()
    for one in trained:
        if one.rows is None:
            says = "its training rows were not recorded"
            links.append(lineage.missing("rows", f"{one.model}/{one.number}", says))
            continue
        if one.rows not in known:
            try:
                known[one.rows] = rowset.contains(partial(see.objects.read, one.rows), name)
            except (NotFound, ValueError, Invalid):
                says = f"the ids of the training rows of {one.model}/{one.number} are gone"
                links.append(lineage.missing("rows", one.rows, says))
                continue
        if known[one.rows]:
            found.append(one)
    if not found and serving.named(see.conn, f"row:{name}"):
        raise NotFound(f"no version was trained on row {name!r}")
    says = f"in the training rows of {len(found):,} versions" if found else "trained on by none"
    return [Link(kind="row", id=name, says=says), *under([*_trained(see, found), *links])]


def _origins(see: Reader) -> tuple[list[Origin], list[Link]]:
    """Return what the newest versions were trained on, and whether there are more."""
    found = models.origins(see.conn, limit=_VERSIONS + 1)
    if len(found) <= _VERSIONS:
        return found, []
    says = f"only the newest {_VERSIONS:,} versions were looked through"
    return found[:_VERSIONS], [lineage.missing("versions", "-", says)]


def _trained(see: Reader, found: list[Origin]) -> list[Link]:
    links: list[Link] = []
    at_most = _COUNTED // max(1, min(len(found), _SHOWN))
    for one in found[:_SHOWN]:
        ref = f"{one.model}/{one.number}"
        links.append(Link(kind="version", id=ref, says="trained on it", at=one.created_at))
        links += under([lineage.predictions(see, one.model, one.number, at_most=at_most)])
    if len(found) > _SHOWN:
        says = f"and {len(found) - _SHOWN:,} older versions"
        links.append(Link(kind="versions", id="-", says=says))
    return links


def _numbered(name: str) -> tuple[str, int]:
    what, _, number = name.rpartition("/")
    if not what or not (number.isascii() and number.isdigit()) or len(number) > 9:
        raise NotFound(f"{name!r} is not NAME/NUMBER", hint="e.g. flights-late/3")
    return what, int(number)


def _plain(value: object) -> bool:
    return isinstance(value, str | int | float)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


_SUBJECTS: dict[str, Callable[[Reader, str], list[Link]]] = {
    "version": _version,
    "run": _run,
    "release": _release,
    "alarm": _alarm,
    "dataset": _dataset,
    "row": _row,
}

OPERATIONS = (trace,)
