"""A registry that people use: a model from elsewhere with files, names, decisions and talk."""

from datetime import timedelta

from setpoint.artifacts.store import open_store
from setpoint.comments.entities import Comment
from setpoint.config import Settings
from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.models import service as models
from setpoint.models.registry import commands
from setpoint.models.registry import service as registry
from setpoint.models.registry.entities import Keep
from setpoint.models.review import service as review
from setpoint.notify import service as notify
from setpoint.notify.deliver import Deliverer
from setpoint.notify.entities import Channel
from setpoint.runs import service as runs
from setpoint.runs.entities import Artifact, Point

MODEL = "credit score"  #: a name that must be quoted in addresses
RUN = "run-of-credit"
_ABOUT = "Who gets a **loan**, and at which rate. Ask @risk-team before you use it."


def person(backend: LocalBackend, name: str) -> LocalBackend:
    """Return the store as somebody else uses it."""
    settings = Settings(home=backend.settings.home, database_url="", actor=name)
    return LocalBackend(backend.engine, settings, backend.clock)


def fill(backend: LocalBackend, clock: ManualClock) -> None:
    """Register three versions of `MODEL`, and let people decide and talk about them."""
    bob = person(backend, "bob")
    tags = {"team": "risk", "country": "AT"}
    create = commands.CreateModel(model=MODEL, description=_ABOUT, tags=tags)
    backend.call(registry.create, create)
    _train(backend)
    for number, auc in ((1, 0.71), (2, 0.742), (3, 0.739)):
        clock.advance(timedelta(hours=5))
        cmd = commands.AddVersion(
            model=MODEL,
            source=f"runs:/{RUN}/model",
            run_id=RUN,
            metrics={"auc": auc, "brier": 0.2 - auc / 10},
            description="Trained on loans until **June**." if number == 1 else "",
            tags={"trained-by": "ada"},
        )
        backend.call(registry.add_version, cmd)
    _decide(backend, bob, clock)
    clock.advance(timedelta(minutes=30))
    _talk(backend, bob)
    gone = commands.DeleteVersion(model=MODEL, number=3, reason="trained on the wrong month")
    backend.call(registry.delete_version, gone)
    keep = commands.UpdateModel(model=MODEL, keep=Keep(newest=10, days=90))
    backend.call(registry.update, keep)


def tell(backend: LocalBackend) -> Channel:
    """Add a channel that nobody answers at, and try to tell it of an event."""
    add = notify.AddChannel(
        name="ops", kind="webhook", url="http://127.0.0.1:9/hook", events=["model.*"]
    )
    channel = backend.call(notify.add, add).channel
    tag = commands.SetTags(model=MODEL, tags={"seen": "by ops"})
    backend.call(registry.tag, tag)
    Deliverer(backend, seed=1).once()
    return channel


def _train(backend: LocalBackend) -> None:
    objects = open_store(backend.settings)
    left = {
        "model/MLmodel": b"flavors:\n  python_function:\n    loader_module: credit\n",
        "model/input_example.json": b'{"columns": ["age", "income"], "data": [[41, 52000.0]]}',
        "model/model.pkl": b"\x80\x04\x00 a pickle",
        "notes.txt": b"not a file of the version",
    }
    files = {
        path: Artifact(address=objects.put(content), size=len(content))
        for path, content in left.items()
    }
    start = runs.Start(id=RUN, name="credit, with income", experiment="credit", params={"l2": 0.1})
    backend.call(runs.start, start)
    points = [Point(name="auc", value=0.742)]
    backend.call(runs.log, runs.Log(run=RUN, artifacts=files, points=points))
    backend.call(runs.finish, runs.Finish(run=RUN))


def _decide(backend: LocalBackend, bob: LocalBackend, clock: ManualClock) -> None:
    def point(alias: str, number: int, reason: str) -> None:
        cmd = models.SetAlias(model=MODEL, alias=alias, number=number, reason=reason)
        backend.call(models.alias, cmd)

    point("champion", 1, "the first")
    for role, approved in (("law", True), ("risk", False), ("risk", True)):
        reason = "no forbidden inputs" if role == "law" else "looked at every slice"
        cmd = review.Decide(model=MODEL, number=2, role=role, approved=approved, reason=reason)
        bob.call(review.approve, cmd)
        clock.advance(timedelta(minutes=1))
    protect = review.Protect(
        model=MODEL, alias="champion", roles=["law", "risk"], reason="it decides on loans"
    )
    backend.call(review.protect, protect)
    point("champion", 2, "better on new loans")
    point("baseline", 1, "")
    ask = review.AskApproval(model=MODEL, number=2, role="data protection", reason="new inputs")
    backend.call(review.ask, ask)


def _talk(backend: LocalBackend, bob: LocalBackend) -> None:
    def say(who: LocalBackend, text: str, number: int = 0) -> Comment:
        cmd = review.AddComment(model=MODEL, number=number, text=text)
        made: Comment = who.call(review.comment, cmd)
        return made

    say(bob, "Odd on **Mondays**, @ada: see `auc` by weekday.", 2)
    say(backend, "Looks like the *late payments* of the weekend. @bob, can you check?", 2)
    say(bob, "Which one do we want for next quarter?")
