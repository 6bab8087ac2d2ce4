"""Any course of decisions by rules and people leaves exactly one live version."""

import itertools
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.releases.begun import begun

from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict
from setpoint.events import store as events
from setpoint.models import store as models
from setpoint.models.entities import Gate, Signature
from setpoint.models.service import Register, register
from setpoint.releases import service, store
from setpoint.releases.entities import OnBreach, Policy, Release, State
from setpoint.releases.evidence import Evidence, PairedLoss, streak
from setpoint.releases.rules import decide
from setpoint.releases.service import Decide, Start
from setpoint.serve import store as serving
from setpoint.serve.entities import Role

_models = itertools.count()


class Life(RuleBasedStateMachine):
    backend: LocalBackend
    clock: ManualClock

    def __init__(self) -> None:
        super().__init__()
        self.model = f"model-{next(_models)}"
        self.versions = 0
        self.seen: Release | None = None  #: what a slow controller believes

    @initialize()
    def begin(self) -> None:
        for _ in range(3):
            self.train()
        begun(self.backend, Start(model=self.model, version=1))

    @rule()
    def train(self) -> None:
        self.versions += 1
        self.backend.call(
            register,
            Register(
                model=self.model,
                run_id=f"{self.model}-{self.versions}",
                why="test",
                flavor="python",
                artifact="none",
                signature=Signature(inputs=[]),
                gate=Gate(checks=[], passed=True),
            ),
        )

    @rule(data=st.data(), breach=st.sampled_from(OnBreach))
    def start(self, data: st.DataObject, breach: OnBreach) -> None:
        live = {each.version for each in self.all if each.state is State.PROMOTED}
        fresh = sorted({*range(1, self.versions + 1)} - live) or [1]
        version = data.draw(st.sampled_from(fresh))
        policy = Policy(guards=(), shadow=100, step_requests=100, on_breach=breach)
        with suppress(Conflict):
            begun(self.backend, Start(model=self.model, version=version, policy=policy))

    @precondition(lambda self: self.open is not None)
    @rule(mean=st.sampled_from([-0.05, 0.0, 0.01, 0.1]), failures=st.sampled_from([0, 0, 20]))
    def answer(self, mean: float, failures: int) -> None:
        more = Evidence(
            loss=PairedLoss(n=2000, mean=mean, m2=2000 * 0.01),
            requests_in_stage=100,
            canary_streak=streak([True] * failures),
        )
        going = self.open
        assert going is not None
        with self.backend.engine.begin() as conn:
            service.absorb(self.backend.context(conn), going.id, more)

    @rule()
    def look(self) -> None:
        self.seen = self.open

    @precondition(lambda self: self.seen is not None)
    @rule()
    def decide(self) -> None:
        assert self.seen is not None
        verdict = decide(self.seen, self.seen.policy, self.clock.now())
        with suppress(Conflict), self.backend.engine.begin() as conn:
            service.apply_decision(self.backend.context(conn), self.seen, verdict)

    @precondition(lambda self: self.open is not None)
    @rule(
        op=st.sampled_from([service.hold, service.resume, service.promote, service.rollback]),
    )
    def interfere(self, op: Any) -> None:
        going = self.open
        assert going is not None
        self.person(op, going)

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def go_back(self, data: st.DataObject) -> None:
        self.person(service.rollback, data.draw(st.sampled_from(self.past)))

    def person(self, op: Any, release: Release) -> None:
        with suppress(Conflict):
            self.backend.call(op, Decide(release=release.id, reason="I say so"))

    @rule(days=st.sampled_from([0.01, 1, 8]))
    def wait(self, days: float) -> None:
        self.clock.advance(timedelta(days=days))

    @property
    def open(self) -> Release | None:
        with self.backend.engine.begin() as conn:
            return store.current(conn, self.model)

    @property
    def all(self) -> list[Release]:
        with self.backend.engine.begin() as conn:
            return store.ls(conn, self.model)

    @property
    def past(self) -> list[Release]:
        return [each for each in self.all if each.state is State.PROMOTED and each.from_version]

    @invariant()
    def exactly_one_version_is_live(self) -> None:
        with self.backend.engine.begin() as conn:
            served = serving.deployments(conn, self.model)
            named = {each.alias: each.number for each in models.aliases(conn, self.model)}
            going = store.current(conn, self.model)
            everything = store.ls(conn, self.model)
        if not everything:
            assert served == []
            return
        live = [each for each in served if each.role is Role.LIVE]
        assert len(live) == 1
        assert live[0].weight > 0
        assert sum(each.weight for each in served) == pytest.approx(1.0)
        assert named.get("live") == live[0].version
        assert named.get("candidate") == (None if going is None else going.version)
        others = {each.version for each in served if each.role is not Role.LIVE}
        assert others == (set() if going is None else {going.version})

    @invariant()
    def every_state_was_recorded(self) -> None:
        with self.backend.engine.begin() as conn:
            for release in store.ls(conn, self.model):
                last = events.latest(conn, subject=release.ref, limit=1)[0]
                assert last.detail["state"] == release.state
                assert last.detail["step"] == release.step
                assert release.proven <= (release.state is State.PROMOTED)


def test_no_course_of_decisions_leaves_zero_or_two_live(
    backend: LocalBackend, clock: ManualClock
) -> None:
    class Here(Life):
        pass

    Here.backend, Here.clock = backend, clock
    quick = backend.engine.dialect.name == "sqlite"
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=40 if quick else 10,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
