"""A release that waits for approval says so on its pages, and is answered there."""

from tests.releases.begun import begun
from tests.server.web import ask, send

from setpoint.db.local import LocalBackend
from setpoint.models.entities import Gate, Signature
from setpoint.models.service import Register, register
from setpoint.releases.entities import Policy, State
from setpoint.releases.service import Start, Which, show

MODEL = "m"


def waiting(backend: LocalBackend, *roles: str) -> str:
    """Have version 1 live and a release of version 2 wait; return its id."""
    for number in (1, 2):
        command = Register(
            model=MODEL,
            run_id=f"run_{number}",
            why="test",
            flavor="python",
            artifact="b3:" + "0" * 64,
            signature=Signature(inputs=[]),
            gate=Gate(checks=[], passed=True),
        )
        backend.call(register, command)
    begun(backend, Start(model=MODEL, version=1))
    return begun(backend, Start(model=MODEL, version=2, policy=Policy(approvers=roles))).id


def test_it_is_told_wherever_the_model_is_and_answered_with_a_role(
    empty: str, backend: LocalBackend
) -> None:
    name = waiting(backend, "risk", "owner")
    assert "A release waits for a person" in ask(empty, "/releases").text
    assert "waits for approval by risk or owner" in ask(empty, f"/models/{MODEL}").text
    page = ask(empty, f"/releases/{name}")
    assert "Version 2 of m waits for approval by risk or owner" in page.text
    assert "<option>risk</option><option>owner</option>" in page.text
    assert "Promote" not in page.text
    no_role = send(empty, f"/releases/{name}/approve", {"reason": "reviewed"})
    assert (no_role.status, "say as which role" in no_role.text) == (403, True)
    form = {"role": "owner", "reason": "reviewed <today>"}
    assert send(empty, f"/releases/{name}/approve", form).status == 303
    assert backend.call(show, Which(release=name)).release.state is State.RUNNING
    after = ask(empty, f"/releases/{name}").text
    assert "approved it as owner" in after
    assert "reviewed &lt;today&gt;" in after


def test_a_rejection_ends_it_and_stays_to_be_read(empty: str, backend: LocalBackend) -> None:
    name = waiting(backend, "risk")
    assert "<select" not in ask(empty, f"/releases/{name}").text, "one role need not be said"
    answer = send(empty, f"/releases/{name}/reject", {"reason": "unexplained"})
    assert answer.status == 303
    page = ask(empty, f"/releases/{name}").text
    assert "Version 2 of m was rejected" in page
    assert "rejected it as risk" in page
    assert "Decide" not in page


def test_the_page_of_a_model_whose_first_version_waits_is_whole(
    empty: str, backend: LocalBackend
) -> None:
    command = Register(
        model=MODEL,
        run_id="run_1",
        why="test",
        flavor="python",
        artifact="b3:" + "0" * 64,
        signature=Signature(inputs=[]),
        gate=Gate(checks=[], passed=True),
    )
    backend.call(register, command)
    assert ask(empty, f"/models/{MODEL}").status == 200, "nothing happened to it yet"
    policy = Policy(approvers=("risk",))
    name = begun(backend, Start(model=MODEL, version=1, policy=policy)).id
    for path in ("/", f"/models/{MODEL}", f"/models/{MODEL}/1", f"/releases/{name}"):
        assert ask(empty, path).status == 200, path
