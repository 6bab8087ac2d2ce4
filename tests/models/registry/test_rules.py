"""Which versions a rule of keeping lets go: never one that somebody named, never the newest."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from setpoint.models.entities import ModelVersion, Signature
from setpoint.models.registry.entities import Keep
from setpoint.models.registry.rules import outlived

NOW = datetime(2026, 1, 1, tzinfo=UTC)

AGES = st.lists(st.integers(0, 100), min_size=0, max_size=30)
RULES = st.builds(
    Keep,
    newest=st.none() | st.integers(1, 40),
    days=st.none() | st.integers(1, 120),
)


def versions(ages: list[int]) -> list[ModelVersion]:
    return [
        ModelVersion(
            model="m",
            number=number,
            run_id=f"r{number}",
            why="",
            created_at=NOW - timedelta(days=age),
            flavor="",
            artifact="",
            signature=Signature(inputs=[]),
        )
        for number, age in enumerate(sorted(ages, reverse=True), 1)
    ]


@given(AGES, RULES, st.sets(st.integers(1, 30)))
def test_what_goes_is_old_enough_far_enough_back_and_named_by_nobody(
    ages: list[int], keep: Keep, named: set[int]
) -> None:
    found = versions(ages)
    gone = outlived(found, named, keep, NOW)
    age = {each.number: (NOW - each.created_at).days for each in found}
    assert not named & set(gone)
    assert len(found) not in gone
    if keep.newest is None and keep.days is None:
        assert gone == []
    for number in gone:
        assert keep.days is None or age[number] >= keep.days
        assert keep.newest is None or len(found) - number >= keep.newest
    for number in set(age) - set(gone) - named - {len(found)}:
        young = keep.days is not None and age[number] < keep.days
        near = keep.newest is not None and len(found) - number < keep.newest
        assert young or near or (keep.newest is None and keep.days is None)
