"""A command that is sent again is answered again, and runs once."""

from __future__ import annotations

import pytest

from cluster.state.commands import BELOW_FLOOR, SESSION_UNKNOWN, Result
from cluster.state.errors import CorruptState
from cluster.state.memory_store import MemoryStore
from cluster.state.overlay import Overlay
from cluster.state.sessions import (
    PURGE_ROWS_MAX,
    RESULTS_BYTES_MAX,
    SESSION_IDLE_MS,
    Sessions,
)
from cluster.state.store import Table
from flo.wire.queue_messages import DELIVERY_CONSUME
from flo.wire.status import Reason
from tests.unit.state.helpers import Bench, Triple, incr, open_session, put, within
from tests.unit.state.queue_bench import configure, dequeue, enqueue

TOKEN = 0xFEED


@pytest.fixture
def bench() -> Bench:
    """A replica with session 1 open."""
    bench = Bench()
    assert bench.one(open_session(TOKEN)) == (0, 1)
    return bench


def rows(bench: Bench, table: Table) -> list[bytes]:
    with bench.read() as txn:
        return [key for key, _ in txn.scan(table, b"")]


class TestOpen:
    def test_the_same_token_gets_the_same_session(self, bench: Bench) -> None:
        assert bench.run(open_session(TOKEN), open_session(TOKEN + 1)) == [(0, 1), (0, 2)]
        bench.restart()
        assert bench.run(open_session(TOKEN + 1), open_session(TOKEN)) == [(0, 2), (0, 1)]

    def test_the_sessions_of_another_cluster_are_unknown(self, bench: Bench) -> None:
        """Else a client that outlived its cluster would write as somebody else of the next one."""
        tokens = (0x1234_5678 << 32 | 7, 0x2345_6789 << 32 | 7)
        first, other = (Bench() for _ in tokens)
        assert first.one(open_session(tokens[0])) == (0, (0x1234_5678 << 32) + 1)
        assert other.one(open_session(tokens[1])) == (0, (0x2345_6789 << 32) + 1)
        first.restart()
        # They are counted from there, whatever the later tokens are.
        assert first.one(open_session(tokens[1])) == (0, (0x1234_5678 << 32) + 2)

    def test_opening_again_keeps_results(self, bench: Bench) -> None:
        bench.run(within(Triple(1, 1, 1), incr(b"a")))
        bench.run(open_session(TOKEN))
        assert bench.one(within(Triple(1, 1, 1), incr(b"a"))) == (0, 1, 1)

    def test_an_expired_session_is_not_opened_again(self, bench: Bench) -> None:
        assert bench.one(open_session(TOKEN), at_ms=SESSION_IDLE_MS) == (0, 2)
        assert bench.one(open_session(TOKEN), at_ms=SESSION_IDLE_MS) == (0, 2)
        assert len(rows(bench, Table.SESSIONS)) == 1

    def test_ids_are_never_used_again(self, bench: Bench) -> None:
        bench.run(at_ms=SESSION_IDLE_MS)
        assert rows(bench, Table.SESSIONS) == []
        bench.restart()
        assert bench.one(open_session(9), at_ms=SESSION_IDLE_MS) == (0, 2)


class TestRepeats:
    TRIPLE = Triple(1, 5, 5)

    def test_in_the_same_entry(self, bench: Bench) -> None:
        command = within(self.TRIPLE, incr(b"a"))
        assert bench.run(command, command, command) == [(0, 1, 1)] * 3
        assert bench.one(incr(b"a")) == (0, 2, 2)

    def test_in_a_later_entry(self, bench: Bench) -> None:
        command = within(self.TRIPLE, incr(b"a"))
        assert bench.one(command) == bench.one(command) == (0, 1, 1)
        assert bench.one(incr(b"a")) == (0, 2, 2)

    def test_after_a_restart(self, bench: Bench) -> None:
        command = within(self.TRIPLE, incr(b"a"))
        bench.run(command)
        bench.restart()
        assert bench.one(command) == (0, 1, 1)
        assert bench.one(incr(b"a")) == (0, 2, 2)

    def test_a_refusal_is_repeated_too(self, bench: Bench) -> None:
        command = within(self.TRIPLE, put(b"a", b"x", cas=1))
        assert bench.one(command) == (Reason.CAS_MISMATCH, 0)
        bench.run(put(b"a", b"y"))
        assert bench.one(command) == (Reason.CAS_MISMATCH, 0)
        assert bench.value(b"a") == b"y"

    def test_sessions_do_not_share_sequences(self, bench: Bench) -> None:
        bench.run(open_session(2))
        first, second = (within(Triple(number, 1, 1), incr(b"a")) for number in (1, 2))
        assert bench.run(first, second, first) == [(0, 1, 1), (0, 2, 2), (0, 1, 1)]

    def test_any_order_of_sequences_is_kept(self, bench: Bench) -> None:
        sent = [within(Triple(1, sequence, 1), incr(b"a")) for sequence in (3, 1, 2, 900)]
        answers = bench.run(*sent[:2]) + bench.run(*sent[2:])
        bench.restart()
        assert bench.run(*sent) == answers == [(0, count, count) for count in (1, 2, 3, 4)]


class TestFloor:
    def test_below_it_nothing_runs(self, bench: Bench) -> None:
        command = within(Triple(1, 1, 1), incr(b"a"))
        bench.run(command, within(Triple(1, 2, 2), incr(b"a")))
        assert bench.one(command) == (BELOW_FLOOR,)
        bench.restart()
        assert bench.one(command) == (BELOW_FLOOR,)
        assert bench.one(incr(b"a")) == (0, 3, 3)

    def test_what_never_ran_is_refused_as_well(self, bench: Bench) -> None:
        bench.run(within(Triple(1, 9, 9), incr(b"a")))
        assert bench.one(within(Triple(1, 4, 1), incr(b"a"))) == (BELOW_FLOOR,)

    def test_a_result_that_shares_a_row_with_kept_ones_stays_refused(self, bench: Bench) -> None:
        sent = [within(Triple(1, sequence, 1), incr(b"a")) for sequence in (1, 5)]
        bench.run(*sent)
        bench.run(within(Triple(1, 6, 3), incr(b"a")))
        for _ in range(2):
            assert bench.run(*sent) == [(BELOW_FLOOR,), (0, 2, 2)]
            bench.restart()

    def test_it_never_goes_down(self, bench: Bench) -> None:
        bench.run(within(Triple(1, 9, 9), incr(b"a")), within(Triple(1, 10, 2), incr(b"a")))
        assert bench.one(within(Triple(1, 8, 8), incr(b"a"))) == (BELOW_FLOOR,)

    def test_a_row_goes_when_all_its_results_are_below(self, bench: Bench) -> None:
        bench.run(*(within(Triple(1, sequence, 1), incr(b"a")) for sequence in (1, 2, 5)))
        bench.run(*(within(Triple(1, sequence, 1), incr(b"a")) for sequence in (3, 4)))
        assert len(rows(bench, Table.RESULTS)) == 2
        bench.run(within(Triple(1, 5, 5), incr(b"a")))
        assert len(rows(bench, Table.RESULTS)) == 1
        bench.run(within(Triple(1, 6, 6), incr(b"a")))
        assert len(rows(bench, Table.RESULTS)) == 1

    def test_rows_go_after_a_restart_as_well(self, bench: Bench) -> None:
        bench.run(*(within(Triple(1, sequence, 1), incr(b"a")) for sequence in (1, 2, 5)))
        bench.run(within(Triple(1, 3, 3), incr(b"a")))
        bench.restart()
        bench.run(within(Triple(1, 7, 6), incr(b"a")))
        assert len(rows(bench, Table.RESULTS)) == 1

    @pytest.mark.parametrize("order", [(7, 5), (5, 7)])
    def test_results_passed_within_their_own_entry_are_not_stored(
        self, bench: Bench, order: tuple[int, int]
    ) -> None:
        bench.run(
            *(within(Triple(1, sequence, 5), incr(b"a")) for sequence in order),
            within(Triple(1, 7, 6), incr(b"a")),
        )
        assert len(rows(bench, Table.RESULTS)) == 1
        bench.restart()
        bench.run(within(Triple(1, 5, 5), incr(b"a")), within(Triple(1, 8, 8), incr(b"a")))
        assert len(rows(bench, Table.RESULTS)) == 1
        assert bench.one(incr(b"a")) == (0, 4, 4)

    def test_an_entry_whose_results_all_passed_leaves_no_row(self, bench: Bench) -> None:
        bench.run(within(Triple(1, 5, 5), incr(b"a")), within(Triple(1, 5, 6), incr(b"a")))
        assert rows(bench, Table.RESULTS) == []

    @pytest.mark.parametrize("order", [(5, 7), (7, 5)])
    def test_such_a_row_is_not_even_written_for_a_moment(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, order: tuple[int, int]
    ) -> None:
        written: list[Table] = []
        insert_row = Overlay.insert

        def watched(txn: Overlay, table: Table, key: bytes, value: bytes) -> None:
            written.append(table)
            insert_row(txn, table, key, value)

        monkeypatch.setattr(Overlay, "insert", watched)
        passed = within(Triple(1, 8, 8), incr(b"a"))
        bench.run(*(within(Triple(1, each, 1), incr(b"a")) for each in order), passed, passed)
        assert written.count(Table.RESULTS) == 1
        written.clear()
        bench.run(within(Triple(1, 9, 9), incr(b"a")), within(Triple(1, 9, 10), incr(b"a")))
        assert Table.RESULTS not in written
        assert rows(bench, Table.RESULTS) == []


class TestUnknown:
    def test_a_session_that_never_was(self, bench: Bench) -> None:
        assert bench.one(within(Triple(2, 1, 1), incr(b"a"))) == (SESSION_UNKNOWN,)
        assert bench.get(b"a") is None

    def test_an_idle_session_expires(self, bench: Bench) -> None:
        command = within(Triple(1, 1, 1), incr(b"a"))
        bench.run(command)
        assert bench.one(command, at_ms=SESSION_IDLE_MS) == (SESSION_UNKNOWN,)
        assert rows(bench, Table.SESSIONS) == rows(bench, Table.RESULTS) == []

    def test_every_command_keeps_it_alive(self, bench: Bench) -> None:
        command = within(Triple(1, 1, 1), incr(b"a"))
        for at_ms in range(0, 5 * SESSION_IDLE_MS, SESSION_IDLE_MS - 1):
            assert bench.one(command, at_ms=at_ms) == (0, 1, 1)
            bench.restart()

    def test_commands_without_a_session_are_not_deduplicated(self, bench: Bench) -> None:
        assert bench.run(incr(b"a"), incr(b"a")) == [(0, 1, 1), (0, 2, 2)]
        assert rows(bench, Table.RESULTS) == []


class TestBounds:
    def test_removal_of_expired_sessions_is_bounded_and_takes_the_idlest_first(
        self, bench: Bench
    ) -> None:
        count = PURGE_ROWS_MAX + 10
        bench.run(*(open_session(token) for token in range(count)))
        bench.run(within(Triple(2, 1, 1), incr(b"a")), at_ms=1)
        bench.run(at_ms=SESSION_IDLE_MS + 1)
        left = rows(bench, Table.SESSIONS)
        assert len(left) == count + 1 - PURGE_ROWS_MAX
        assert left[0] == (2).to_bytes(8, "big")
        bench.run(at_ms=SESSION_IDLE_MS + 1)
        assert rows(bench, Table.SESSIONS) == []

    def test_a_session_with_many_rows_goes_over_several_entries(self, bench: Bench) -> None:
        for sequence in range(1, PURGE_ROWS_MAX + 10):
            bench.run(within(Triple(1, sequence, 1), incr(b"a")))
        bench.run(at_ms=SESSION_IDLE_MS)
        assert len(rows(bench, Table.RESULTS)) == 10
        assert bench.one(within(Triple(1, 1, 1), incr(b"a")), at_ms=0) == (SESSION_UNKNOWN,)
        assert rows(bench, Table.SESSIONS) == rows(bench, Table.RESULTS) == []
        bench.restart()

    def test_its_token_is_free_while_it_goes(self, bench: Bench) -> None:
        for sequence in range(1, 2 * PURGE_ROWS_MAX + 10):
            bench.run(within(Triple(1, sequence, 1), incr(b"a")))
        assert bench.one(open_session(TOKEN), at_ms=SESSION_IDLE_MS) == (0, 2)
        assert len(rows(bench, Table.SESSIONS)) == 2
        bench.restart()
        assert bench.one(open_session(TOKEN)) == (0, 2)
        bench.run()
        assert len(rows(bench, Table.SESSIONS)) == 1
        assert bench.one(open_session(TOKEN)) == (0, 2)

    def test_kept_results_are_bounded(self) -> None:
        sessions, answers = Sessions(results_max=2), [(0, 1), (0, 2)]
        with MemoryStore().write() as txn:
            sessions.begin(txn, 1, 0)
            sessions.open(TOKEN)
            for index, answer in enumerate(answers, 1):
                sessions.begin(txn, index, 0)
                assert admit_and_keep(sessions, index, 1, answer) is None
                sessions.end()
            sessions.begin(txn, 3, 0)
            assert admit_and_keep(sessions, 3, 1, (0, 3)) == (Reason.TOO_MANY_PROPOSALS,)
            assert admit_and_keep(sessions, 2, 1, (0, 9)) == (0, 2)
            assert admit_and_keep(sessions, 3, 2, (0, 3)) is None

    @pytest.mark.parametrize("restarts", [False, True])
    def test_what_counts_is_the_same_after_a_restart(self, restarts: bool) -> None:
        """All of a row while any of it may be asked for; nothing of one that has passed."""
        store = MemoryStore()
        sessions = Sessions(results_max=3)

        def entry(index: int, *commands: tuple[int, int]) -> list[Result | None]:
            nonlocal sessions
            with store.write() as txn:
                sessions.begin(txn, index, 0)
                if index == 1:
                    sessions.open(TOKEN)
                answers = [admit_and_keep(sessions, *each, (0, each[0])) for each in commands]
                sessions.end()
                sessions.finish(txn)
            if restarts:
                sessions = Sessions(results_max=3)
                with store.read() as read:
                    sessions.load(read, 1)
            return answers

        full = (Reason.TOO_MANY_PROPOSALS,)
        assert entry(1, (1, 1), (3, 1)) == [None, None]
        assert entry(2, (4, 2), (5, 2)) == [None, full], "1 counts: it stands beside 3"
        assert entry(3, (6, 4), (6, 7)) == [None, (BELOW_FLOOR,)]
        assert entry(4, (7, 7), (8, 7), (9, 7), (10, 7)) == [None, None, None, full]

    def test_consumed_messages_that_are_kept_are_bounded_in_bytes(self, bench: Bench) -> None:
        """Its floor may stay behind; a restart counts the same."""
        large = b"x" * (RESULTS_BYTES_MAX // 4)
        bench.one(configure(DELIVERY_CONSUME))
        for number in range(1, 7):
            bench.one(enqueue(large))
            answer = bench.one(within(Triple(1, number, 1), dequeue()))
            assert answer[0] == (0 if number <= 4 else Reason.TOO_MANY_PROPOSALS)
            bench.restart()
        assert bench.one(within(Triple(1, 7, 2), dequeue()))[0] == 0
        assert bench.one(within(Triple(1, 8, 2), dequeue()))[0] == Reason.TOO_MANY_PROPOSALS

    def test_sessions_are_bounded(self) -> None:
        sessions = Sessions(sessions_max=2)
        with MemoryStore().write() as txn:
            sessions.begin(txn, 1, 0)
            assert [sessions.open(token) for token in (7, 8, 9, 7)] == [
                (0, 1),
                (0, 2),
                (Reason.TOO_MANY_WAITERS,),
                (0, 1),
            ]


def admit_and_keep(sessions: Sessions, sequence: int, floor: int, result: Result) -> Result | None:
    answer = sessions.admit(1, sequence, floor)
    if answer is None:
        sessions.keep(1, sequence, result)
    return answer


def test_results_without_a_session_are_damage(bench: Bench) -> None:
    bench.run(within(Triple(1, 1, 1), incr(b"a")))
    (session,) = rows(bench, Table.SESSIONS)
    with bench.damage() as txn:
        txn.delete(Table.SESSIONS, session)
    with pytest.raises(CorruptState, match="RESULTS"):
        bench.restart()
