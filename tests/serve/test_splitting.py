"""Where the arms of a test lie among the keys."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from setpoint.serve.entities import SplitArm
from setpoint.serve.routing import FIRST_ARM, LIVE, WHOLE, laid_out, router, splitter

NAMES = ("blue", "green", "red", "white")
KEYS = [f"passenger-{i}" for i in range(20_000)]


@st.composite
def wanted(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    left, found = WHOLE, []
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        size = draw(st.integers(1, WHOLE))
        if size <= left:
            found.append((name, draw(st.integers(1, 9)), size))
            left -= size
    return found


def held(arms: list[SplitArm]) -> dict[str, set[tuple[int, int]]]:
    return {arm.name: set(arm.spans) for arm in arms}


def size(spans: set[tuple[int, int]]) -> int:
    return sum(end - start for start, end in spans)


def common(one: set[tuple[int, int]], other: set[tuple[int, int]]) -> int:
    return sum(max(0, min(b, d) - max(a, c)) for a, b in one for c, d in other)


@given(st.lists(wanted(), min_size=1, max_size=6))
def test_arms_have_their_shares_and_nothing_in_common(
    history: list[list[tuple[str, int, int]]],
) -> None:
    arms: list[SplitArm] = []
    for step in history:
        arms = laid_out(arms, step)
        spans = held(arms)
        assert {name: size(mine) for name, mine in spans.items()} == {n: s for n, _, s in step}
        assert {arm.name: arm.version for arm in arms} == {n: v for n, v, _ in step}
        every = sorted(span for mine in spans.values() for span in mine)
        assert all(0 <= start < end <= WHOLE for start, end in every)
        assert all(before[1] <= after[0] for before, after in pairwise(every))


@given(st.lists(wanted(), min_size=2, max_size=6))
def test_a_key_goes_from_one_arm_to_another_only_where_none_is_in_no_arm(
    history: list[list[tuple[str, int, int]]],
) -> None:
    arms = laid_out([], history[0])
    for step in history[1:]:
        before, arms = held(arms), laid_out(arms, step)
        after = held(arms)
        stay = before.keys() & after.keys()
        for name in stay:
            kept = common(before[name], after[name])
            assert kept == min(size(before[name]), size(after[name])), "it only grows or shrinks"
        in_none = WHOLE - sum(size(before[name]) for name in stay)
        needed = sum(
            max(0, size(mine) - size(before.get(name, set()))) for name, mine in after.items()
        )
        moved = sum(
            common(before[one], after[other]) for one in stay for other in after if one != other
        )
        assert moved == max(0, needed - in_none)


def test_raising_one_share_moves_keys_from_live_alone() -> None:
    arms = laid_out([], [("blue", 2, 200_000), ("green", 3, 300_000)])
    more = laid_out(arms, [("blue", 2, 350_000), ("green", 3, 300_000)])
    before, after = splitter("m", arms, None)(KEYS), splitter("m", more, None)(KEYS)
    moved = {(a, b) for a, b in zip(before, after, strict=True) if a != b}
    assert moved == {(LIVE, FIRST_ARM)}


def test_the_share_of_rows_is_that_of_the_arm() -> None:
    arms = laid_out([], [("blue", 2, 50_000), ("green", 3, 400_000)])
    places = splitter("m", arms, router("m/9", 0.5))(KEYS)
    for place, share in ((FIRST_ARM, 0.05), (FIRST_ARM + 1, 0.4), (1, 0.275), (0, 0.275)):
        sd = (len(KEYS) * share * (1 - share)) ** 0.5
        assert abs(places.count(place) - len(KEYS) * share) < 5 * sd


def test_a_whole_share_leaves_nothing_to_the_live_version() -> None:
    arms = laid_out([], [("blue", 2, WHOLE)])
    assert set(splitter("m", arms, None)(KEYS)) == {FIRST_ARM}
