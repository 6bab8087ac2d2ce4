"""A team's way through the registry in a real browser: ask, decide, name, write, talk."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.journeys.conftest import ROOT, serving
from tests.server import registered, swept
from tests.server.registered import MODEL
from tests.server.swept import SWEEP

from setpoint.config import Settings
from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend, open_local
from setpoint.notify import service as notify
from setpoint.server.app import STATIC, create_app

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (STATIC / "app.js").exists(), reason="pages not built: make ui"),
]
_AXE = ROOT / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
PATH = f"/models/{quote(MODEL)}"


@pytest.fixture
def team(tmp_path: Path, clock: ManualClock) -> Iterator[LocalBackend]:
    """A store that a team uses: a registry with talk, a sweep, artifacts, a channel."""
    url = f"sqlite:///{tmp_path / 'setpoint.db'}"
    backend = open_local(Settings(home=tmp_path, database_url=url, actor="ada"), clock)
    registered.fill(backend, clock)
    registered.tell(backend)
    swept.sweep(backend, clock, 12)
    swept.artifact(backend, clock)
    yield backend
    backend.engine.dispose()


@pytest.fixture
def url(team: LocalBackend) -> Iterator[str]:
    with serving(create_app(team)) as address:
        yield address


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """A page that fails the test for any error that its scripts or its policy raise.

    It is closed before the server is, whose end it would take for an error.
    """
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    opened = context.new_page()
    said: list[str] = []
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on(
        "console",
        lambda message: said.append(message.text) if message.type == "error" else None,
    )
    yield opened
    context.close()
    assert not said


def test_an_approval_that_waits_is_found_given_and_the_alias_moved(
    page: Page, url: str, clock: ManualClock
) -> None:
    page.goto(url)
    page.keyboard.press("g")
    page.keyboard.press("t")
    expect(page.get_by_role("heading", level=1)).to_have_text("1 approval waits for an answer")
    page.get_by_role("link", name=MODEL, exact=True).click()
    expect(page).to_have_url(f"{url}{PATH}/2#approvals")
    page.get_by_label("Role").fill("data protection")
    page.locator("#decide").get_by_label("Reason").fill("fine")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(
        "approved by data protection and law and risk"
    )
    page.get_by_label("Pages").get_by_role("link", name="Team").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("No approval waits")
    page.goto(url + PATH)
    page.get_by_text("Move or drop an alias").click()
    move = page.locator("#move")
    move.get_by_label("Alias").fill("stable")
    move.get_by_label("Version").select_option("2")
    move.get_by_label("Reason").fill("a quarter without trouble")
    move.get_by_role("button", name="Move it").click()
    expect(page.locator(".aliases")).to_contain_text("a quarter without trouble")


def test_a_card_shows_how_it_will_look_while_it_is_written(page: Page, url: str) -> None:
    page.goto(f"{url}{PATH}/2/card?edit=1")
    page.locator("textarea").press_sequentially("For **small** loans, ask @bob.")
    expect(page.locator("#preview strong")).to_have_text("small")
    expect(page.locator("#preview").get_by_role("link", name="@bob")).to_be_visible()
    page.get_by_role("button", name="Save").click()
    expect(page).to_have_url(f"{url}{PATH}/2/card")
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save as HTML").click()
    assert "<strong>small</strong>" in Path(saved.value.path()).read_text()


def test_what_is_being_written_outlives_what_happens_meanwhile(
    page: Page, url: str, team: LocalBackend
) -> None:
    page.clock.install()
    page.goto(url + PATH)
    expect(page.locator(".live")).to_have_text("live")
    box = page.locator("form[action='/comments'] textarea")
    box.fill("not said yet")
    page.get_by_role("heading", level=1).click()
    opened = "window.told = new EventSource('/live'); told.onopen = () => done()"
    page.evaluate(f"new Promise(done => {{ {opened}; }})")
    for on in (False, True):  # when the second is told here, the page has heard of the first
        heard = "window.heard = new Promise(done => { told.addEventListener('change', done); })"
        page.evaluate(f"{heard}; null")
        team.call(notify.update, notify.UpdateChannel(channel="ops", enabled=on))
        page.evaluate("heard.then(() => null)")
    page.clock.run_for(5_000)
    page.evaluate("fetch('/healthz').then(() => null)")
    page.get_by_role("button", name="Comment").click()
    expect(page.locator(".talk")).to_contain_text("not said yet")


def test_a_sweep_is_looked_through_and_stopped(page: Page, url: str) -> None:
    page.goto(f"{url}/runs")
    page.get_by_role("link", name="sweeps…").click()
    page.get_by_role("link", name="rates of learning").click()
    expect(page.locator("parallel-plot path.line")).to_have_count(12)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#top .state")).to_have_text("finished")
    page.get_by_role("link", name="Compare the best").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("12 runs compared")


@pytest.mark.parametrize(("width", "colours"), [(1440, "light"), (390, "dark")])
def test_nothing_is_cut_and_no_reader_shut_out(
    browser: Browser, url: str, team: LocalBackend, pictures: Path, width: int, colours: str
) -> None:
    if not _AXE.exists():
        pytest.skip("axe-core is not installed: make check")
    channel = team.call(notify.ls, notify.ListChannels()).channels[0].id
    delivery = team.call(notify.log, notify.ListDeliveries()).deliveries[0].id
    paths = {
        "models": "/models",
        "model": PATH,
        "model-described": f"{PATH}?describe=1",
        "version": f"{PATH}/2?file=MLmodel",
        "version-deleted": f"{PATH}/3",
        "card": f"{PATH}/2/card",
        "card-written": f"{PATH}/2/card?edit=1",
        "differences": f"{PATH}/2/diff",
        "inbox": "/inbox",
        "activity": "/activity",
        "channels": "/channels",
        "channel": f"/channels/{channel}",
        "delivery": f"/channels/{channel}/{delivery}",
        "sweeps": "/sweeps",
        "sweep": f"/sweeps/{SWEEP}",
        "artifacts": "/collections",
        "artifact": "/collections/1",
        "artifact-version": "/collections/1/0?file=customers.csv",
        "keeping": "/keeping",
    }
    size = {"width": width, "height": 900}
    context = browser.new_context(viewport=size, color_scheme=colours)  # type: ignore[arg-type]
    page = context.new_page()
    wrong: list[str] = []
    for name, path in paths.items():
        page.goto(url + path)
        page.evaluate(
            "for (const each of document.querySelectorAll('main details')) each.open = true"
        )
        page.screenshot(path=pictures / f"team-{name}-{width}-{colours}.png", full_page=True)
        over = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        wrong += [f"{path} is {over} px too wide"] * (over > 0)
        page.evaluate(_AXE.read_text())
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        wrong += [
            f"{path}: {each['id']}: {each['nodes'][0]['html'][:160]}"
            for each in found["violations"]
            if each["impact"] in {"serious", "critical"}
        ]
    context.close()
    assert not wrong, "\n".join(wrong)
