"""Pages of the registry: what they show, and what is done on them."""

import json
import re
from datetime import timedelta
from urllib.parse import quote

import pytest
from tests.server import registered
from tests.server.registered import MODEL, person
from tests.server.test_pages import check_page
from tests.server.web import Answer, ask, send

from setpoint.comments.service import AboutSubject
from setpoint.comments.service import ls as said
from setpoint.control.starting import Deploy, deploy
from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.models import service as models
from setpoint.models.entities import PROMPT, Signature
from setpoint.models.registry import commands
from setpoint.models.registry import service as registry
from setpoint.monitor import store as monitor
from setpoint.monitor.entities import Traffic


@pytest.fixture
def guests(backend: LocalBackend) -> LocalBackend:
    """A store with a model from elsewhere, one without versions, and a prompt."""
    for name, tags in (("guest", {}), ("bare", {}), ("hello", {PROMPT: "true"})):
        backend.call(registry.create, commands.CreateModel(model=name, tags=tags))
    for model in ("guest", "hello"):
        backend.call(registry.add_version, commands.AddVersion(model=model, source="s3://b/m"))
    alias = models.SetAlias(model="guest", alias="champion", number=1, reason="")
    backend.call(models.alias, alias)
    return backend


@pytest.mark.parametrize(
    "path", ["/", "/models/guest", "/models/guest/1", "/models/bare", "/events"]
)
def test_every_page_of_them_is_there(guests: LocalBackend, empty: str, path: str) -> None:
    assert ask(empty, path).status == 200


def test_prompts_are_not_listed_as_models(guests: LocalBackend) -> None:
    found = guests.call(models.ls, models.ListModels()).models
    assert [(each.model, each.trained_here) for each in found] == [
        ("bare", False),
        ("guest", False),
    ]


PATH = f"/models/{quote(MODEL)}"


@pytest.fixture
def used(backend: LocalBackend, clock: ManualClock) -> LocalBackend:
    """A store with a model that people decide and talk about."""
    registered.fill(backend, clock)
    return backend


def done(answer: Answer, path: str = PATH) -> None:
    assert (answer.status, answer.headers.get("location")) == (303, path), answer.text[:2000]


def test_every_page_of_the_registry_is_whole(used: LocalBackend, empty: str) -> None:
    for path in (
        *("/models", "/models?view=deleted", "/models?q=score", PATH, f"{PATH}?describe=1"),
        *(f"{PATH}/1", f"{PATH}/2?describe=1", f"{PATH}/2?file=MLmodel", f"{PATH}/3"),
        *(f"{PATH}/2/card", f"{PATH}/2/card?edit=1", f"{PATH}/2/diff", f"{PATH}/1/diff?with=2"),
        *("/runs/run-of-credit", "/experiments/1"),
    ):
        check_page(ask(empty, path))


def test_models_are_found_by_words_and_by_filters(used: LocalBackend, empty: str) -> None:
    def found(**query: str) -> list[str]:
        asked = "&".join(f"{name}={quote(value)}" for name, value in query.items())
        page = ask(empty, f"/models?{asked}&format=json")
        return [each["model"] for each in json.loads(page.body)]

    assert found(q="CREDIT") == [MODEL]
    assert found(q="o'clock") == []
    assert found(q="tags.team = 'risk' AND aliases.champion = 2") == [MODEL]
    assert found(q="aliases.champion = 1") == []
    wrong = ask(empty, "/models?q=tags.team+%3D")
    assert wrong.status == 400
    assert "aria-invalid" in wrong.text
    send(empty, PATH, {"do": "delete", "reason": "over"})  # a protected alias stands in the way
    assert found(view="deleted") == []


def test_an_alias_is_moved_protected_and_dropped_on_the_page_of_its_model(
    used: LocalBackend, empty: str
) -> None:
    assert "approved" in ask(empty, f"{PATH}/2").text
    denied = send(empty, PATH, {"do": "alias", "alias": "champion", "number": "1", "reason": "x"})
    assert (denied.status, "lacks approval of law, risk" in denied.text) == (403, True)
    lift = {"do": "unprotect", "alias": "champion", "reason": "over"}
    done(send(empty, PATH, lift))
    move = {"do": "alias", "alias": "champion", "number": "1", "reason": "back to <the> first"}
    assert send(empty, PATH, {**move, "reason": " "}).status == 400
    done(send(empty, PATH, move))
    done(send(empty, PATH, {"do": "unalias", "alias": "baseline", "reason": "unused"}))
    assert used.call(models.show, models.ShowModel(model=MODEL)).aliases == {"champion": 1}
    page = ask(empty, PATH).text
    assert "back to &lt;the&gt; first" in page
    done(send(empty, PATH, {"do": "protect", "alias": "champion", "roles": "", "reason": "stay"}))
    assert "does not move by hand" in ask(empty, PATH).text


def test_a_model_from_elsewhere_is_shown_by_what_there_is_to_say_of_it(
    backend: LocalBackend, empty: str
) -> None:
    command = models.Register(
        model="iris",
        run_id="",
        why="brought in",
        flavor="sklearn",
        artifact="b3:00",
        signature=Signature(inputs=[]),
    )
    backend.call(models.register, command)
    release = backend.call(deploy, Deploy(model="iris", version=1, reason="tried <it>"))
    with backend.engine.begin() as conn:
        day = Traffic(day=backend.clock.now(), version=1, role="live", rows=4_321, logged=432)
        monitor.add_traffic(conn, "iris", [day])
    overview = ask(empty, "/").text
    assert "1 unmanaged" in overview or "iris is unmanaged" in overview
    assert "none declared" in overview
    assert "4,321" in overview
    page = ask(empty, "/models/iris").text
    assert "Predictions a day, by version" in page
    assert "Label coverage" not in page
    shown = ask(empty, f"/releases/{release.id}").text
    assert "live at once" in shown
    assert "tried &lt;it&gt;" in shown
    assert "of traffic" not in shown, "it had no stages"


def test_a_model_is_described_tagged_kept_renamed_deleted_and_restored(
    guests: LocalBackend, empty: str
) -> None:
    for form in (
        {"do": "describe", "text": "For **guests**.\r\n"},
        {"do": "tag", "tag": "team=risk=high"},
        {"do": "tag", "tag": "draft="},
        {"do": "untag", "tag": "draft"},
        {"do": "keep", "newest": "3", "days": ""},
    ):
        done(send(empty, "/models/guest", form), "/models/guest")
    about = guests.call(registry.about, commands.OneModel(model="guest"))
    assert (about.description, about.tags) == ("For **guests**.", {"team": "risk=high"})
    page = ask(empty, "/models/guest").text
    assert "<strong>guests</strong>" in page
    assert "The newest 3; what an alias" in page
    for form in ({"do": "keep", "newest": "none"}, {"do": "tag", "tag": "x"}, {"do": "paint"}):
        assert send(empty, "/models/guest", form).status == 400
    renamed = send(empty, "/models/guest", {"do": "rename", "name": "guest 2?"})
    done(renamed, "/models/guest%202%3F")
    assert ask(empty, "/models/guest%202%3F").status == 200
    gone = send(empty, "/models/guest%202%3F", {"do": "delete", "reason": "over"})
    done(gone, "/models?view=deleted")
    assert "Restore" in ask(empty, "/models?view=deleted").text
    done(send(empty, "/models/guest%202%3F", {"do": "restore"}), "/models/guest%202%3F")


def test_approval_is_asked_given_and_refused_on_the_page_of_a_version(
    used: LocalBackend, clock: ManualClock, empty: str
) -> None:
    path = f"{PATH}/1"
    role = {"role": "risk", "reason": "for <May>"}
    done(send(empty, path, {"do": "ask", **role}), path)
    assert "v1</a> by <b>risk</b>" in ask(empty, PATH).text
    assert "ada asks: for &lt;May&gt;" in ask(empty, path).text
    assert send(empty, path, {"do": "approve", "role": "risk", "reason": ""}).status == 400
    done(send(empty, path, {"do": "refuse", **role}), path)
    assert "version 1 was refused by risk" in ask(empty, path).text
    clock.advance(timedelta(minutes=1))
    done(send(empty, path, {"do": "approve", **role}), path)
    assert "version 1 was approved by risk" in ask(empty, path).text
    assert "v1</a> by <b>risk</b>" not in ask(empty, PATH).text


def test_a_version_is_described_named_deleted_and_restored(used: LocalBackend, empty: str) -> None:
    path = f"{PATH}/1"
    for form in (
        {"do": "describe", "text": "Until *July*."},
        {"do": "tag", "tag": "reviewed=yes"},
        {"do": "alias", "alias": "fallback", "reason": "known"},
    ):
        done(send(empty, path, form), path)
    entry = used.call(registry.version, commands.OneVersion(model=MODEL, number=1))
    assert (entry.version.description, entry.aliases) == ("Until *July*.", ["baseline", "fallback"])
    assert entry.tags == {"reviewed": "yes", "trained-by": "ada"}
    assert send(empty, path, {"do": "delete", "reason": ""}).status == 400
    done(send(empty, path, {"do": "delete", "reason": "too old"}), path)
    assert "was deleted" in ask(empty, path).text
    assert f'href="{PATH}/1"' in ask(empty, PATH).text.partition("deleted</summary>")[2]
    done(send(empty, path, {"do": "restore"}), path)
    assert "was deleted" not in ask(empty, path).text


def test_the_files_of_a_version_are_those_under_its_source(used: LocalBackend, empty: str) -> None:
    page = ask(empty, f"{PATH}/2?file=MLmodel").text
    assert "loader_module: credit" in page
    assert "notes.txt" not in page
    assert '<td class="cut">52000.0</td>' in page, "its input example is a table"
    (address, *_) = re.findall(r'href="(/api/2.0/mlflow-artifacts[^"]*/MLmodel)"', page)
    assert b"loader_module" in ask(empty, address).body
    assert "There is no such file" in ask(empty, f"{PATH}/2?file=nope").text
    second = commands.AddVersion(model="guest", source=f"models:/{MODEL}/2")
    used.call(registry.create, commands.CreateModel(model="guest"))
    used.call(registry.add_version, second)
    assert "input_example.json" in ask(empty, "/models/guest/1").text


def test_a_card_is_previewed_written_and_taken_along(used: LocalBackend, empty: str) -> None:
    path = f"{PATH}/2/card"
    form = {"words": "For **loans** <script>alert(1)</script>"}
    seen = send(empty, path, {"do": "preview", **form})
    check_page(seen)
    assert "<strong>loans</strong>" in seen.text
    assert "<strong>loans</strong>" not in ask(empty, path).text, "a preview keeps nothing"
    done(send(empty, path, {"do": "save", **form}), path)
    assert "<strong>loans</strong>" in ask(empty, path).text
    text = ask(empty, f"{path}?saved=md")
    assert text.headers["content-disposition"] == 'attachment; filename="credit-score-2.md"'
    assert "For **loans**" in text.text
    assert "<strong>loans</strong>" in ask(empty, f"{path}?saved=html").text


def test_what_differs_between_versions_is_a_page_and_a_table(
    used: LocalBackend, empty: str
) -> None:
    page = ask(empty, f"{PATH}/2/diff").text
    assert "2 things differ between v1 and v2" in page
    assert "+0.032" in page
    rows = json.loads(ask(empty, f"{PATH}/2/diff?with=1&format=json").body)
    assert {row["name"]: row["v2"] for row in rows}["auc"] == 0.742
    assert ask(empty, f"{PATH}/2/diff?with=nine").status == 400
    assert ask(empty, f"{PATH}/2/diff?with=9").status == 404


def test_people_talk_below_a_page_and_change_what_they_said(
    used: LocalBackend, clock: ManualClock, empty: str
) -> None:
    subjects = {
        f"model:{MODEL}": PATH,
        f"version:{MODEL}/2": f"{PATH}/2",
        "run:run-of-credit": "/runs/run-of-credit",
        "experiment:credit": "/experiments/named/credit",
    }
    for subject, path in subjects.items():
        clock.advance(timedelta(seconds=1))
        answer = send(empty, "/comments", {"subject": subject, "text": "Well, @bob: <b>no</b>"})
        made = used.call(said, AboutSubject(subject=subject)).comments[-1]
        done(answer, f"{path}#{made.id}")
        page = path if subject[0] != "e" else "/experiments/1"
        text = ask(empty, f"{page}?comment={made.id}").text
        assert "<b>no</b>" not in text
        assert f'action="/comments/{made.id}"' in text
        change = {"do": "edit", "text": "**yes**"}
        done(send(empty, f"/comments/{made.id}", change), f"{path}#{made.id}")
        assert "<strong>yes</strong>" in ask(empty, page).text
        done(send(empty, f"/comments/{made.id}", {"do": "drop"}), f"{path}#comments")
    bobs = used.call(said, AboutSubject(subject=f"model:{MODEL}")).comments[0]
    assert bobs.actor == person(used, "bob").settings.actor
    assert f'action="/comments/{bobs.id}"' not in ask(empty, PATH).text
    assert send(empty, f"/comments/{bobs.id}", {"do": "drop"}).status == 403
    for form in ({"subject": "spec:x", "text": "x"}, {"subject": f"model:{MODEL}", "text": " "}):
        assert send(empty, "/comments", form).status == 400
    assert ask(empty, "/experiments/named/credit").headers["location"] == "/experiments/1"
