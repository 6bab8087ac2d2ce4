"""A person's way through the pages, in a real browser."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.journeys.conftest import ROOT
from tests.server.test_pages import pages_of

from setpoint.db.local import LocalBackend
from setpoint.events.store import record
from setpoint.server.app import STATIC

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (STATIC / "app.js").exists(), reason="pages not built: make ui"),
]
_AXE = ROOT / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
_SIZES = {"wide": (1440, 900), "phone": (390, 844)}


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that fails the test for any error that its scripts or its policy raise."""
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


def test_from_the_overview_to_the_cause(page: Page, site: str) -> None:
    page.goto(site)
    expect(page.get_by_role("heading", level=1)).to_have_text("flights-late is off target")
    page.get_by_role("link", name="flights-late", exact=True).first.click()
    expect(page.get_by_role("heading", name="How it has held")).to_be_visible()
    page.locator(".chart .wide a[href^='/alarms/']").last.click()
    expect(page.get_by_role("heading", name=re.compile("Likely cause"))).to_be_visible()
    page.get_by_label("Pages").get_by_role("link", name="Releases").click()
    page.locator("tbody th a").first.click()
    expect(page.get_by_role("heading", name="Evidence against its thresholds")).to_be_visible()


def test_the_keyboard_goes_everywhere(page: Page, site: str) -> None:
    page.goto(site)
    page.keyboard.press("g")
    page.keyboard.press("r")
    expect(page).to_have_url(f"{site}/runs")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("weather")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{site}/data/weather")
    page.goto(site)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()


def test_values_are_read_off_a_chart_by_pointer_and_by_arrow(page: Page, site: str) -> None:
    page.goto(f"{site}/models/flights-late")
    picture = page.locator(".chart .wide svg")
    box = picture.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 150)
    expect(page.get_by_role("status").filter(has_text="v3")).to_be_visible()
    page.mouse.move(5, 5)
    page.locator("figure.chart").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".readout b")).to_have_text(re.compile(r"2013-12-"))


def test_a_page_follows_the_record_without_being_reloaded(
    page: Page, site: str, lived: LocalBackend
) -> None:
    page.goto(f"{site}/events")
    expect(page.locator(".live")).to_have_text("live")
    with lived.engine.begin() as conn:
        record(lived.context(conn), "test.happened", "model:flights-late", why="live now")
    expect(page.get_by_text("live now")).to_be_visible()
    expect(page.locator("tbody tr").first).to_contain_text("test.happened")


def test_colours_are_chosen_and_kept(page: Page, site: str) -> None:
    page.goto(site)
    toggle = page.get_by_role("button", name=re.compile("Colours"))
    toggle.click()
    toggle.click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_a_chart_is_saved_as_a_picture(page: Page, site: str) -> None:
    page.goto(f"{site}/models/flights-late")
    page.locator("figure.chart").hover()
    with page.expect_download() as saved:
        page.get_by_role("button", name="PNG").click()
    content = Path(saved.value.path()).read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) > 20_000


def test_pages_work_without_a_script(browser: Browser, site: str, lived: LocalBackend) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    for path in pages_of(lived):
        answer = page.goto(site + path)
        assert answer is not None
        assert answer.ok, path
        assert page.locator("h1").count() == 1, path
    context.close()


@pytest.mark.parametrize(("size", "colours"), [("wide", "light"), ("phone", "dark")])
def test_no_page_is_cut_and_no_reader_shut_out(
    browser: Browser,
    site: str,
    lived: LocalBackend,
    pictures: Path,
    size: str,
    colours: Any,
) -> None:
    """Nothing overflows sideways, and axe-core finds no serious violation."""
    if not _AXE.exists():
        pytest.skip("axe-core is not installed: make check")
    width, height = _SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=colours)
    page = context.new_page()
    wrong: list[str] = []
    for path in pages_of(lived):
        page.goto(site + path)
        if "profile" not in path and path.startswith("/data/"):
            page.locator("#profile table").wait_for()
        name = re.sub(r"[^a-z0-9]+", "-", path.lower()).strip("-") or "overview"
        page.screenshot(path=pictures / f"{name}-{size}-{colours}.png", full_page=True)
        over = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if over > 0:
            wrong.append(f"{path} is {over} px too wide")
        page.evaluate(_AXE.read_text())
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        wrong += [
            f"{path}: {each['id']}: {each['nodes'][0]['html'][:160]}"
            for each in found["violations"]
            if each["impact"] in {"serious", "critical"}
        ]
    context.close()
    assert not wrong, "\n".join(wrong)
