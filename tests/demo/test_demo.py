"""The main job as its user runs it: one command, a real replay, pages that stay up."""

import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser
from tests.journeys.conftest import ROOT
from tests.ports import free_port

pytestmark = pytest.mark.slow
_HREFS = "links => links.map(link => link.getAttribute('href'))"
UNTIL = "2013-03-16"  # long enough for the bad version to come and go


def command(home: Path, *more: str) -> list[str]:
    ports = ["--port", str(free_port()), "--inference-port", str(free_port())]
    return [
        *(sys.executable, "-m", "setpoint", "demo", "--home", str(home)),
        *("--until", UNTIL, "--json", *ports, *more),
    ]


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, str]]:
    """A finished demo whose pages are up: its JSON, and their address."""
    asked = command(tmp_path_factory.mktemp("demo") / "home")
    address = f"http://127.0.0.1:{asked[asked.index('--port') + 1]}"
    with subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as demo:
        assert demo.stdout is not None
        line = demo.stdout.readline()
        if not line:
            assert demo.stderr is not None
            pytest.fail(demo.stderr.read().decode())
        yield json.loads(line), address
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=30)
    assert demo.returncode in (0, 130)


def test_every_flight_is_asked_and_the_record_verifies(replayed: tuple[Any, str]) -> None:
    said, _ = replayed
    assert said["predictions"] > 10_000
    assert 0.9 * said["predictions"] < said["labels"] <= said["predictions"]
    assert said["events_verified"] is True
    assert Path(said["home"]).is_dir()


def test_the_bad_version_is_announced_forced_and_rolled_back(replayed: tuple[Any, str]) -> None:
    said, _ = replayed
    bad = next(v for v in said["versions"] if "shuffled" in v["why"])
    verdict = next(r for r in said["releases"] if r["version"] == bad["number"])
    assert (bad["gate"], verdict["verdict"]) == ("overridden", "rolled_back")
    assert verdict["why"]


def test_quality_is_told_on_the_same_predictions(replayed: tuple[Any, str]) -> None:
    quality = replayed[0]["quality"]
    assert quality["rows"] == sum(month["rows"] for month in quality["by_month"])
    assert 0.6 < quality["never_retrained"] < 0.8
    assert abs(quality["live"] - quality["never_retrained"]) < 0.05


def test_the_pages_stay_up_at_the_printed_address(replayed: tuple[Any, str]) -> None:
    _, address = replayed
    for path in ("/healthz", "/", "/models/flights-late", "/releases", "/data/flights"):
        with urllib.request.urlopen(address + path, timeout=30) as answer:  # noqa: S310
            assert answer.status == 200


@pytest.mark.browser
def test_every_page_of_a_finished_demo_is_sound(
    replayed: tuple[Any, str], browser: Browser, pictures: Path
) -> None:
    """Follow every kind of link: each page opens, fits, and shuts no reader out."""
    axe = ROOT / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
    if not axe.exists():
        pytest.skip("axe-core is not installed: make check")
    _, address = replayed
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    seen, waiting, wrong = set[str](), ["/"], list[str]()
    while waiting:
        path = waiting.pop(0)
        answer = page.goto(address + path)
        assert answer is not None
        if not answer.ok:
            wrong.append(f"{path} answers {answer.status}")
            continue
        name = re.sub(r"[^a-z0-9]+", "-", path.lower())[:60].strip("-") or "overview"
        page.screenshot(path=pictures / f"demo-{name}.png", full_page=True)
        page.evaluate(axe.read_text())
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        wrong += [f"{path}: {v['id']}" for v in found if v["impact"] in {"serious", "critical"}]
        for link in page.eval_on_selector_all("main a[href^='/'], nav a[href^='/']", _HREFS):
            kind = re.sub(r"[0-9A-Z]{6,}|\d+", "#", link.partition("?")[0])
            if kind not in seen and not link.startswith(("/objects", "/api", "/static")):
                seen.add(kind)
                if "format=" not in link:
                    waiting.append(link)
    page.close()
    assert not wrong, "\n".join(wrong)
    assert len(seen) >= 10


def test_the_same_seed_makes_the_same_decisions(replayed: tuple[Any, str], tmp_path: Path) -> None:
    again = subprocess.run(
        command(tmp_path / "home", "--no-ui"), check=True, capture_output=True, timeout=600
    )
    first, second = replayed[0], json.loads(again.stdout.splitlines()[-1])
    for key in ("predictions", "labels", "versions", "releases", "alarms", "quality"):
        assert second[key] == first[key], key
