"""Versions to release, and a way to run the controller's functions."""

from collections.abc import Callable

import pytest

from setpoint.db.local import LocalBackend
from setpoint.models.entities import Gate, Signature
from setpoint.models.service import Register, register


@pytest.fixture
def versions(backend: LocalBackend) -> Callable[[int], None]:
    """Register that many versions of ``flights-late`` whose gate passed."""

    def make(count: int) -> None:
        for number in range(1, count + 1):
            backend.call(
                register,
                Register(
                    model="flights-late",
                    run_id=f"run_{number}",
                    why="test",
                    flavor="python",
                    artifact="none",
                    signature=Signature(inputs=[]),
                    gate=Gate(checks=[], passed=True),
                ),
            )

    return make
