"""Pauses between dials, timers, and the log of repeated troubles."""

import asyncio
import logging

import pytest

from cluster.addresses import Address
from cluster.peers.config import PeerConfig
from cluster.peers.dialing import Backoff, keep_dialing
from cluster.peers.link import Link, LinkLimits
from cluster.peers.network import is_loopback
from cluster.peers.timers import LoopTimers, ManualTimers, sleep
from cluster.peers.troubles import TroubleLog
from tests.unit.peers.kit import ANY_PORT, NOWHERE, Recorder, dialer, identity, network, until


def test_pauses_double_up_to_the_limit() -> None:
    backoff = Backoff(first_s=0.1, max_s=1.0, random=lambda: 0.0)
    pauses = [backoff.next_pause_s() for _ in range(6)]
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    backoff.reset()
    assert backoff.next_pause_s() == 0.1


def test_chance_shortens_a_pause_by_up_to_a_half() -> None:
    backoff = Backoff(first_s=0.125, max_s=1.0, random=lambda: 0.5)
    assert [backoff.next_pause_s() for _ in range(2)] == [0.09375, 0.1875]


async def test_dialing_goes_on_after_each_pause() -> None:
    timers = ManualTimers()
    dialed: list[int] = []

    async def dial() -> Link | None:
        dialed.append(len(dialed))
        return None

    backoff = Backoff(first_s=0.1, max_s=1.0, random=lambda: 0.0)
    task = asyncio.create_task(keep_dialing(dial, timers, backoff))
    for count, pause_s in enumerate((0.1, 0.2, 0.4, 0.8, 1.0, 1.0), start=1):
        await until(lambda: timers.pending == 1)
        assert len(dialed) == count
        timers.advance(pause_s * 0.99)
        assert timers.pending == 1
        timers.advance(pause_s * 0.02)
    task.cancel()
    await asyncio.wait((task,))
    assert timers.pending == 0


async def test_a_link_that_was_established_resets_the_pause() -> None:
    timers = ManualTimers()
    pauses: list[float] = []

    class Noting(Backoff):
        def next_pause_s(self) -> float:
            pauses.append(super().next_pause_s())
            return pauses[-1]

    async def dial() -> Link | None:
        link = ended_link()
        link.established = len(pauses) == 2
        return link

    backoff = Noting(first_s=0.1, max_s=1.0, random=lambda: 0.0)
    task = asyncio.create_task(keep_dialing(dial, timers, backoff))
    for _ in range(4):
        await until(lambda: timers.pending == 1)
        timers.advance(1.0)
    task.cancel()
    await asyncio.wait((task,))
    assert pauses[:4] == [0.1, 0.2, 0.1, 0.2]


def ended_link() -> Link:
    recorder = Recorder()
    owner = network(2, recorder, {1: NOWHERE}, timers=ManualTimers())
    link = Link(dialer(), owner, recorder.on_messages, LinkLimits(9, 9, 9), expected_id=1)
    link.closed.set()
    return link


def test_manual_timers_call_in_order_and_once() -> None:
    timers = ManualTimers()
    calls: list[str] = []

    def call_nested() -> None:
        timers.call_later(0.5, lambda: calls.append("nested"))

    timers.call_later(2, lambda: calls.append("late"))
    timers.call_later(1, lambda: calls.append("early"))
    timers.call_later(1, call_nested)
    timers.call_later(1, lambda: calls.append("cancelled")).cancel()
    timers.advance(0.9)
    assert calls == []
    timers.advance(0.2)
    assert calls == ["early"]
    timers.advance(5)
    assert calls == ["early", "nested", "late"]
    assert timers.pending == 0


async def test_loop_timers_call_back() -> None:
    await sleep(LoopTimers(), 0)


def test_a_repeated_trouble_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "flo.peers")
    log = TroubleLog()
    assert log.report("node 2", "unreachable")
    assert not log.report("node 2", "unreachable")
    assert log.report("node 3", "unreachable")
    assert log.report("node 2", "other secret")
    log.settle("node 2")
    assert log.report("node 2", "other secret")
    assert len(caplog.messages) == 4
    assert caplog.messages[0] == "node 2: unreachable"


def test_the_log_of_troubles_is_bounded() -> None:
    log = TroubleLog()
    for source in range(257):
        assert log.report(str(source), "x")
    assert log.report("0", "x")
    assert not log.report("256", "x")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("0.0.0.0", False),
        ("localhost", False),
        ("", False),
    ],
)
def test_what_counts_as_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_settings_that_do_not_fit_are_refused() -> None:
    peers = {2: NOWHERE}
    with pytest.raises(ValueError, match=r"unsent_bytes_max \(9\) .* frame_bytes_max \(10\)"):
        PeerConfig(identity(1), ANY_PORT, peers, frame_bytes_max=10, unsent_bytes_max=9)
    with pytest.raises(ValueError, match=r"dead_after_s \(1.0\) .* ping_interval_s \(0.5\)"):
        PeerConfig(identity(1), ANY_PORT, peers, dead_after_s=1.0)
    with pytest.raises(ValueError, match=r"redial_first_s \(2\) .* redial_max_s \(1.0\)"):
        PeerConfig(identity(1), ANY_PORT, peers, redial_first_s=2)
    with pytest.raises(ValueError, match="node 2 is listed among its own peers"):
        PeerConfig(identity(2), ANY_PORT, peers)


def test_the_dead_time_in_ticks() -> None:
    config = PeerConfig(identity(1), Address("h", 1), {}, dead_after_s=2.2)
    assert config.silent_ticks_max == 5
