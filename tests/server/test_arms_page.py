"""The page of a test: versions beside one another, and which of them does better."""

import csv
import io
import re

import pytest
from tests.releases.test_by_hand import added
from tests.server.web import ask

from setpoint.control.splitting import Arm, Split, WhichArms, arms, split
from setpoint.control.starting import Deploy, deploy
from setpoint.db.local import LocalBackend

PAGE = "/models/flights-late/arms"


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_the_page_of_a_test_says_who_answers_what_and_who_does_better(site: str) -> None:
    said = words(ask(site, PAGE).text)
    assert "2 arms answer 30 % of the keys of flights-late" in said
    assert "winter (version 6) errs least: no other interval reaches its own." in said
    assert "Set by ada" in said
    assert "does the version that saw December's storms" in said.replace("&#39;", "'")
    assert "control v5 10 % 600" in said
    assert "winter v6 20 % 1,200" in said
    assert "live v5 the other 70 % 4,200" in said


def test_its_table_and_its_chart_can_be_saved(site: str, lived: LocalBackend) -> None:
    found = ask(site, f"{PAGE}?format=csv&table=arms").text
    rows = {row["arm"]: row for row in csv.DictReader(io.StringIO(found))}
    told = {one.arm: one for one in lived.call(arms, WhichArms(model="flights-late")).tallies}
    assert rows.keys() == told.keys() == {"control", "winter", "live"}
    for name, one in told.items():
        assert one.error is not None
        assert one.error_half is not None
        assert int(rows[name]["labels"]) == one.labelled
        assert float(rows[name]["squared_error"]) == pytest.approx(one.error)
        assert float(rows[name]["half_interval"]) == pytest.approx(one.error_half)
    drawn = ask(site, f"{PAGE}?format=svg&chart=errors").text
    assert "Mean squared error of each arm" in drawn


def test_the_model_s_page_leads_there_while_a_test_runs(site: str) -> None:
    said = ask(site, "/models/flights-late").text
    assert f'href="{PAGE}"' in said
    shares = re.findall(r"(\w+) \( ?v(\d) ?\) has (\d+) % of the keys", words(said))
    assert shares == [("control", "5", "10"), ("winter", "6", "20")]


def test_a_test_begins_without_answers_and_ends(empty: str, backend: LocalBackend) -> None:
    assert ask(empty, "/models/iris/arms").status == 404
    assert [added(backend), added(backend)] == [1, 2]
    page = words(ask(empty, "/models/iris/arms").text)
    assert "No test of versions of iris runs" in page
    assert "setpoint releases split iris blue=2:20%" in page
    backend.call(deploy, Deploy(model="iris", version=1, reason="the first"))
    blue = Arm(name="blue", version=2, share=0.25)
    backend.call(split, Split(model="iris", arms=[blue], reason="try <it>"))
    html = ask(empty, "/models/iris/arms").text
    assert "try &lt;it&gt;" in html
    page = words(html)
    assert "1 arm answers 25 % of the keys of iris" in page
    assert "Too few labels yet to tell the arms apart." in page
    assert "blue v2 25 % 0 0" in page
    assert "split iris --end" in page
    backend.call(split, Split(model="iris", arms=[], reason="enough"))
    page = words(ask(empty, "/models/iris/arms").text)
    assert "No test of versions of iris runs" in page
    assert "Ended by" in page
    assert "/models/iris/arms" not in ask(empty, "/models/iris").text
