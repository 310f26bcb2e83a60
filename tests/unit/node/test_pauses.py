"""A node that was stopped for a moment reads its mail before it calls others dead."""

from cluster.clock import Pauses
from tests.unit.node.kit import ManualClock


def test_a_timer_that_comes_too_late_does_not_judge_once() -> None:
    clock = ManualClock()
    pauses = Pauses(clock, pause_s=0.1)
    clock.advance(0.02)
    assert not pauses.noticed()
    clock.advance(1.0)
    assert pauses.noticed()
    clock.advance(0.02)
    assert not pauses.noticed()


def test_a_node_that_is_always_late_judges_every_second_time() -> None:
    clock = ManualClock()
    pauses = Pauses(clock, pause_s=0.1)
    noticed: list[bool] = []
    for _ in range(4):
        clock.advance(0.2)
        noticed.append(pauses.noticed())
    assert noticed == [True, False, True, False]
