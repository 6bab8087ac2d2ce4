import pytest
from tests.server.web import ask, send

from setpoint.server.security import POLICY


def test_every_answer_carries_the_policy(site: str) -> None:
    for path in ("/", "/healthz", "/api/v1/openapi.json", "/static/app.css", "/nowhere"):
        assert ask(site, path).headers["content-security-policy"] == POLICY


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.8", ""])
def test_a_foreign_name_for_this_machine_is_refused(site: str, host: str) -> None:
    assert ask(site, "/", headers={"host": host}).status == 403


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:8765"])
def test_the_names_of_this_machine_are_served(site: str, host: str) -> None:
    assert ask(site, "/healthz", headers={"host": host}).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "null"},
    ],
)
def test_a_page_of_another_site_cannot_change_anything(site: str, headers: dict[str, str]) -> None:
    answer = send(site, "/alarms/alm_1", {"reason": "x"}, headers)
    assert answer.status == 403
