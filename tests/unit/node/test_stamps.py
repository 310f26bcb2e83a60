"""Stamps never go back, whatever the wall clock does."""

from hypothesis import given
from hypothesis import strategies as st

from cluster.stamps import Stamps
from tests.unit.node.kit import ManualClock


def test_a_stamp_is_the_wall_clock_when_that_is_ahead() -> None:
    clock = ManualClock()
    stamps = Stamps(clock)
    assert stamps.now_ms() == clock.wall_now_ms
    clock.advance(1.5)
    assert stamps.now_ms() == clock.wall_now_ms
    clock.wall_now_ms += 3_600_000
    assert stamps.now_ms() == clock.wall_now_ms


def test_time_goes_on_from_the_last_stamp_when_the_wall_clock_jumps_back() -> None:
    clock = ManualClock()
    stamps = Stamps(clock)
    last_ms = clock.wall_now_ms
    stamps.follow(last_ms)
    clock.wall_now_ms -= 3_600_000
    clock.advance(2.0)
    assert stamps.now_ms() == last_ms + 2000


def test_a_stamp_of_another_leader_that_is_ahead_is_not_undercut() -> None:
    clock = ManualClock()
    stamps = Stamps(clock)
    ahead_ms = clock.wall_now_ms + 60_000
    stamps.follow(ahead_ms)
    clock.advance(1.0)
    assert stamps.now_ms() == ahead_ms + 1000


def test_an_old_stamp_changes_nothing() -> None:
    clock = ManualClock()
    stamps = Stamps(clock)
    stamps.follow(clock.wall_now_ms + 60_000)
    before_ms = stamps.now_ms()
    stamps.follow(clock.wall_now_ms - 60_000)
    assert stamps.now_ms() == before_ms


def test_a_stamp_between_the_last_and_now_does_not_turn_the_clock_back() -> None:
    """A new leader applies what an older one has stamped while it was waiting."""
    clock = ManualClock()
    stamps = Stamps(clock)
    base_ms = clock.wall_now_ms + 60_000
    stamps.follow(base_ms)
    clock.advance(10.0)
    stamps.follow(base_ms + 1)
    assert stamps.now_ms() == base_ms + 10_000


def test_following_every_stamp_loses_no_time() -> None:
    """Turns of 1.9 ms would else count for 1 ms each, and leases would last twice as long."""
    clock = ManualClock()
    stamps = Stamps(clock)
    first_ms = clock.wall_now_ms
    stamps.follow(first_ms)
    clock.wall_now_ms -= 3_600_000
    for _ in range(1000):
        clock.now += 0.0019
        stamps.follow(stamps.now_ms())
    assert abs(stamps.now_ms() - (first_ms + 1900)) <= 1


@given(
    steps=st.lists(
        st.tuples(st.floats(0, 10), st.integers(-(10**7), 10**7), st.booleans()), max_size=30
    )
)
def test_what_was_followed_is_never_undercut(steps: list[tuple[float, int, bool]]) -> None:
    clock = ManualClock()
    stamps = Stamps(clock)
    followed_ms = 0
    for seconds, wall_jump_ms, follows in steps:
        clock.advance(seconds)
        clock.wall_now_ms += wall_jump_ms
        now_ms = stamps.now_ms()
        assert now_ms >= followed_ms
        if follows:
            stamps.follow(now_ms)
            followed_ms = now_ms
