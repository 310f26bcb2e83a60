"""What `flo up` makes of what the nodes say."""

import asyncio
import io
from pathlib import Path

import pytest
from rich.console import Console

from flo.cli.up.live import LiveScreen, render
from flo.cli.up.picture import NOTHING_SEEN, Look, NodeRow, Picture, draw, moves
from flo.cli.up.screens import PlainScreen
from tests.unit.cli.up_kit import partition, replica, started


def _look(at_s: float, commands: int, reads: int = 0, *, leader: int = 1) -> Look:
    one = replica(1, role="leader", commands=commands, reads=reads)
    other = replica(2, commands=commands)._replace(applied_index=7)
    return Look(at_s, (partition(0, leader, one, other),), frozenset((1, 2)))


async def test_a_row_says_what_a_node_does(tmp_path: Path) -> None:
    children = [await started(1, tmp_path), await started(2, tmp_path)]
    for child in children:
        child.ready = True
    first, second = draw(children, _look(12.0, 70, 30), _look(10.0, 50, 20)).rows
    assert (first.state, first.leads, first.replicas, first.lag) == ("up", 1, 1, 0)
    assert (first.writes_per_s, first.reads_per_s) == (10.0, 5.0)
    assert first.pid == children[0].pid
    assert first.memory_bytes
    # What a follower applies was counted where it was written.
    assert (second.leads, second.lag, second.writes_per_s) == (0, 2, 0.0)
    for child in children:
        await child.stop()


async def test_a_node_that_counts_from_0_again_has_no_rate_below_0(tmp_path: Path) -> None:
    child = await started(1, tmp_path)
    child.ready = True
    (row,) = draw([child], _look(11.0, 3), _look(10.0, 5000)).rows
    assert row.writes_per_s == 0
    (row,) = draw([child], _look(11.0, 3), NOTHING_SEEN).rows
    assert row.writes_per_s is None
    await child.stop()


async def test_states(tmp_path: Path) -> None:
    child = await started(1, tmp_path)

    def state(look: Look) -> str:
        return draw([child], look, NOTHING_SEEN).rows[0].state

    assert state(NOTHING_SEEN) == "starting"
    child.ready = True
    assert state(NOTHING_SEEN) == "ready"
    assert state(_look(1.0, 0)) == "up"
    assert state(_look(1.0, 0)._replace(answered=frozenset((2,)))) == "silent"
    stranger = partition(0, 2, replica(1)._replace(takes_part=False), replica(2))
    assert state(Look(1.0, (stranger,), frozenset((1, 2)))) == "shut out"
    await child.stop()
    await child.watch(asyncio.Queue())
    assert state(NOTHING_SEEN) == "ended"
    # Somebody has started it again by hand.
    assert state(_look(1.0, 0)) == "elsewhere"


def test_moves_of_leaders_share_a_line_when_they_share_a_way() -> None:
    def led_by(*leaders: int) -> Look:
        found = [partition(number, leader, replica(1)) for number, leader in enumerate(leaders)]
        return Look(0.0, found, frozenset())

    before, now = led_by(1, 1, 1, 2, 2), led_by(2, 2, 0, 2, 1)
    assert moves(before, now) == [
        "partition 2: leader node 1 -> none",
        "partitions 0 and 1: leader node 1 -> node 2",
        "partition 4: leader node 2 -> node 1",
    ]
    assert moves(NOTHING_SEEN, now) == []


def _picture(*, leaderless: tuple[int, ...] = (), progress: str = "") -> Picture:
    row = NodeRow(1, "127.0.0.1:9000", "up", 3, 8, 0, 12345.4, 678.0, 4_194_304, 64 << 20)
    gone = NodeRow(2, "127.0.0.1:9001", "ended")
    return Picture((row, gone), 8, leaderless, progress)


def _drawn(picture: Picture) -> str:
    text = io.StringIO()
    Console(file=text, width=80).print(render(picture))
    return text.getvalue()


def test_the_table_fits_a_narrow_terminal() -> None:
    drawn = [" ".join(line.split()) for line in _drawn(_picture()).splitlines()]
    assert "NODE ADDRESS STATE LEADS LAG WRITES/S READS/S PID MEMORY" in drawn
    assert "1 127.0.0.1:9000 up 3/8 0 12,345 678 4194304 64 MB" in drawn
    assert "2 127.0.0.1:9001 ended - - - - - -" in drawn


def test_the_line_below_the_table() -> None:
    assert "8 partitions, each has a leader. 12,345 writes/s, 678 reads/s." in _drawn(_picture())
    assert "no leader: partitions 3 and 5" in _drawn(_picture(leaderless=(3, 5)))
    assert "waiting for node 2" in _drawn(_picture(progress="waiting for node 2"))


def test_a_live_screen_leaves_the_terminal_as_it_was() -> None:
    text = io.StringIO()
    with LiveScreen(Console(file=text, force_terminal=True, width=80)) as screen:
        screen.show(_picture())
        screen.say("flo node " + "x" * 100)
    shown = text.getvalue()
    assert "x" * 100 in shown, "a command is not cut"
    hidden, again = "\x1b[?25l", "\x1b[?25h"
    assert shown.count(hidden) == shown.count(again) == 1
    assert shown.index(hidden) < shown.index(again)


def test_plain_lines_tell_what_the_start_waits_for_but_not_all_the_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now_s = 0.0
    screen = PlainScreen(clock=lambda: now_s)
    for at_s, progress in ((0.0, "a"), (0.1, "b"), (1.9, "c"), (2.0, "c"), (9.0, "c"), (9.1, "")):
        now_s = at_s
        screen.show(_picture(progress=progress))
    assert capsys.readouterr().out == "a\nc\n"
