"""A clock that is set back breaks no record: order is by position, not by time."""

from datetime import timedelta

import pytest

from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.events import chain
from setpoint.events.store import record

pytestmark = pytest.mark.crash


def test_the_record_stays_in_order_and_verifies_when_the_clock_is_set_back(
    backend: LocalBackend, clock: ManualClock
) -> None:
    for hours in (0, -5, 3, -48):
        clock.advance(timedelta(hours=hours))
        with backend.engine.begin() as conn:
            record(backend.context(conn), "test.happened", f"hours:{hours}")
        with backend.engine.begin() as conn:
            chain.seal(conn)
    with backend.engine.execution_options(setpoint_reads=True).begin() as conn:
        report = chain.verify(conn)
    assert (report.intact, report.sealed, report.unsealed) == (True, 4, 0)
