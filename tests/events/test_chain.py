from sqlalchemy import delete, text, update

from setpoint.db.local import LocalBackend
from setpoint.events import chain
from setpoint.events.chain import Fault
from setpoint.events.store import record
from setpoint.events.tables import events


def filled(backend: LocalBackend, count: int = 6) -> None:
    with backend.engine.begin() as conn:
        for i in range(count):
            record(backend.context(conn), "thing.happened", f"thing:{i}", value=i, note="ä\x00")
        assert chain.seal(conn) == count


def faults(backend: LocalBackend) -> list[Fault]:
    with backend.engine.begin() as conn:
        return chain.verify(conn).faults


def test_an_untouched_record_verifies(backend: LocalBackend) -> None:
    filled(backend)
    with backend.engine.begin() as conn:
        record(backend.context(conn), "thing.happened", "thing:new")
        report = chain.verify(conn)
    assert report.intact
    assert (report.sealed, report.unsealed) == (6, 1)


def test_sealing_again_goes_on_where_it_stopped(backend: LocalBackend) -> None:
    filled(backend)
    filled(backend)
    with backend.engine.begin() as conn:
        assert chain.seal(conn) == 0
        assert chain.verify(conn).sealed == 12
    assert faults(backend) == []


def test_a_changed_line_is_named_and_hides_no_other(backend: LocalBackend) -> None:
    filled(backend)
    with backend.engine.begin() as conn:
        for seq in (2, 5):
            conn.execute(update(events).where(events.c.seq == seq).values(actor="mallory"))
    assert faults(backend) == [Fault(seq=2, what="changed"), Fault(seq=5, what="changed")]


def test_a_removed_line_is_named(backend: LocalBackend) -> None:
    filled(backend)
    with backend.engine.begin() as conn:
        conn.execute(delete(events).where(events.c.seq == 3))
    assert faults(backend) == [Fault(seq=3, what="removed")]


def test_lines_that_changed_places_are_named(backend: LocalBackend) -> None:
    filled(backend)
    with backend.engine.begin() as conn:
        for was, to in ((2, 99), (4, 2), (99, 4)):
            conn.execute(text(f"UPDATE events SET seq = {to} WHERE seq = {was}"))
    assert faults(backend) == [
        Fault(seq=2, what="reordered"),
        Fault(seq=4, what="reordered"),
    ]


def test_an_event_exists_only_if_its_change_does(backend: LocalBackend) -> None:
    filled(backend)
    try:
        with backend.engine.begin() as conn:
            record(backend.context(conn), "thing.happened", "thing:undone")
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    with backend.engine.begin() as conn:
        assert conn.execute(text("SELECT count(*) FROM events")).scalar_one() == 6
