"""The state machine against a small model that says the same in the plainest way."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cluster.state import json_path
from cluster.state.commands import (
    BELOW_FLOOR,
    DELETE,
    EXPIRE,
    IF_ABSENT,
    IF_PRESENT,
    INCR,
    JSON_DELETE,
    JSON_SET,
    OPEN_SESSION,
    PUT,
    SESSION_UNKNOWN,
    Command,
    Result,
)
from cluster.state.errors import StoreFull
from cluster.state.history import DEAD_MS, RING, Version
from cluster.state.json_path import JsonError
from cluster.state.keyspace import Record
from cluster.state.kv import EXPIRES_AT_MS_MAX, TTL_TOO_LONG, kv_scan
from cluster.state.memory_store import MemoryStore
from cluster.state.sessions import SESSION_IDLE_MS
from cluster.state.store import Table
from flo.wire.status import Reason
from tests.unit.state.helpers import NAMESPACE, START_MS, Bench
from tests.unit.state.strategies import batches, steps_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.state.commands import Item
    from cluster.state.json_walk import Steps


class _ModelSession:
    def __init__(self, token: int, last_stamp_ms: int) -> None:
        self.token = token
        self.floor = 0
        self.last_stamp_ms = last_stamp_ms
        self.results: dict[int, Result] = {}


class _Target(NamedTuple):
    key: bytes
    record: Record | None
    version: int


class Model:
    """Keys and sessions in dictionaries; nothing is stored, removed early or remembered twice."""

    def __init__(self) -> None:
        self.keys: dict[bytes, Record] = {}
        self.written: dict[bytes, list[Version]] = {}
        """All versions of a key, also of one that died less than an hour ago."""
        self.died_ms: dict[bytes, int] = {}
        self.sessions: dict[int, _ModelSession] = {}
        self.opened = 0
        self.revision = 0
        self.stamp_ms = 0

    def run(self, stamp_ms: int, batch: list[Command]) -> list[Result]:
        self.stamp_ms = max(self.stamp_ms, stamp_ms)
        results = [self._answer(command) for command in batch]
        for key in self.keys.keys() - self.live().keys():
            self._bury(key)
        for key, died_ms in list(self.died_ms.items()):
            if died_ms + DEAD_MS <= self.stamp_ms:
                del self.died_ms[key], self.written[key]
        return results

    def history(self, key: bytes) -> list[Version]:
        return self.written.get(key, [])[:-66:-1]

    def live(self) -> dict[bytes, Record]:
        return {
            key: record
            for key, record in self.keys.items()
            if record.expires_at_ms == 0 or record.expires_at_ms > self.stamp_ms
        }

    def _answer(self, command: Command) -> Result:
        session_id, sequence, floor = cast("tuple[int, int, int]", command[1:4])
        if session_id == 0:
            return self._execute(command)
        session = self.sessions.get(session_id)
        if session is None or self.stamp_ms - session.last_stamp_ms >= SESSION_IDLE_MS:
            return (SESSION_UNKNOWN,)
        session.last_stamp_ms = self.stamp_ms
        session.floor = max(session.floor, floor)
        if sequence < session.floor:
            return (BELOW_FLOOR,)
        if sequence not in session.results:
            session.results[sequence] = self._execute(command)
        return session.results[sequence]

    def _execute(self, command: Command) -> Result:
        code = command[0]
        if code == OPEN_SESSION:
            return self._open(cast(int, command[4]))
        key = cast(bytes, command[5])
        record = self.live().get(key)
        target = _Target(key, record, record.version if record else 0)
        arguments = command[6:]
        if code == PUT:
            value, ttl_ms, flags, cas = cast("tuple[bytes, int, int, int | None]", arguments)
            return self._put(target, Record(0, ttl_ms, value), flags, cas)
        if code == DELETE:
            return self._delete(target, cast("int | None", arguments[0]))
        if code == INCR:
            return self._incr(target, cast(int, arguments[0]))
        if code in (JSON_SET, JSON_DELETE):
            return self._json(target, arguments)
        assert code == EXPIRE
        ttl_ms, cas = cast("tuple[int, int | None]", arguments)
        return self._expire(target, ttl_ms, cas)

    def _open(self, token: int) -> Result:
        for session_id, session in self.sessions.items():
            idle_ms = self.stamp_ms - session.last_stamp_ms
            if session.token == token and idle_ms < SESSION_IDLE_MS:
                session.last_stamp_ms = self.stamp_ms
                return 0, session_id
        self.opened += 1
        self.sessions[self.opened] = _ModelSession(token, self.stamp_ms)
        return 0, self.opened

    def _put(self, target: _Target, wanted: Record, flags: int, cas: int | None) -> Result:
        if cas is not None and cas != target.version:
            return Reason.CAS_MISMATCH, target.version
        if flags & IF_ABSENT and target.record:
            return Reason.CONDITION_FAILED, target.version
        if flags & IF_PRESENT and not target.record:
            return Reason.CONDITION_FAILED, 0
        expires_at_ms = self._expires_at(wanted.expires_at_ms)
        if expires_at_ms is None:
            return TTL_TOO_LONG
        return 0, self._set(target.key, expires_at_ms, wanted.value)

    def _delete(self, target: _Target, cas: int | None) -> Result:
        if cas is not None and not (target.record and cas == target.version):
            return Reason.CAS_MISMATCH, target.version
        if target.record:
            self.revision += 1
            self._bury(target.key)
        return 0, target.record is not None

    def _bury(self, key: bytes) -> None:
        del self.keys[key]
        self.died_ms[key] = self.stamp_ms

    def _incr(self, target: _Target, delta: int) -> Result:
        held = target.record or Record(0, 0, bytes(8))
        if len(held.value) != 8:
            return (Reason.WRONG_TYPE,)
        total = int.from_bytes(held.value, "little", signed=True) + delta
        if not -(2**63) <= total < 2**63:
            return (Reason.OUT_OF_RANGE,)
        value = total.to_bytes(8, "little", signed=True)
        return 0, self._set(target.key, held.expires_at_ms, value), total

    def _json(self, target: _Target, arguments: Sequence[Item]) -> Result:
        try:
            steps = json_path.parse_path(cast(bytes, arguments[0]))
            if len(arguments) == 1:
                return self._json_delete(target, steps)
            document, bytes_max = cast("tuple[bytes, int]", arguments[1:])
            return self._json_set(target, steps, document, bytes_max)
        except JsonError as error:
            return error.result

    def _json_set(self, target: _Target, steps: Steps, document: bytes, bytes_max: int) -> Result:
        text = json_path.read_document(document)
        old = target.record or Record(0, 0, b"")
        if steps and not target.record:
            return (Reason.NOT_FOUND,)
        value = json_path.put(old.value, steps, text) if steps else document
        if value is None:
            return json_path.NOWHERE
        if len(value) > bytes_max and len(value) > len(old.value):
            text = f"the document would have {len(value)} bytes: at most {bytes_max}"
            return Reason.FIELD_TOO_LONG, text.encode()
        return 0, self._set(target.key, old.expires_at_ms, value)

    def _json_delete(self, target: _Target, steps: Steps) -> Result:
        if not target.record:
            return (Reason.NOT_FOUND,)
        if not steps:
            self._delete(target, None)
            return 0, None
        value = json_path.delete(target.record.value, steps)
        if value is None:
            return json_path.NOWHERE
        return 0, self._set(target.key, target.record.expires_at_ms, value)

    def _expire(self, target: _Target, ttl_ms: int, cas: int | None) -> Result:
        if cas is not None and not (target.record and cas == target.version):
            return Reason.CAS_MISMATCH, target.version
        if target.record is None:
            return (Reason.NOT_FOUND,)
        expires_at_ms = self._expires_at(ttl_ms)
        if expires_at_ms is None:
            return TTL_TOO_LONG
        self.keys[target.key] = target.record._replace(expires_at_ms=expires_at_ms)
        return (0,)

    def _expires_at(self, ttl_ms: int) -> int | None:
        expires_at_ms = self.stamp_ms + ttl_ms if ttl_ms else 0
        return expires_at_ms if expires_at_ms <= EXPIRES_AT_MS_MAX else None

    def _set(self, key: bytes, expires_at_ms: int, value: bytes) -> int:
        self.revision += 1
        written = self.written.setdefault(key, [])
        written.append(Version(self.revision, self.stamp_ms, value))
        self.died_ms.pop(key, None)
        self.keys[key] = Record(self.revision, expires_at_ms, value, self.stamp_ms, len(written))
        return self.revision


class StateMachineAgainstModel(RuleBasedStateMachine):
    """Entries, the same entries again, restarts and full disks, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = MemoryStore()
        self.bench = Bench(self.memory)
        self.model = Model()
        self.at_ms = 0
        self.last_batch: list[Command] = []

    @rule(batch=batches, step_ms=steps_ms)
    def apply(self, batch: list[Command], step_ms: int) -> None:
        self.at_ms += step_ms
        self._run(batch)

    @rule()
    @precondition(lambda self: bool(self.last_batch))
    def send_again(self) -> None:
        self._run(self.last_batch)

    @rule(batch=batches)
    def apply_with_a_late_clock(self, batch: list[Command]) -> None:
        self._run(batch, back_ms=3)

    @rule()
    def restart(self) -> None:
        before = self.bench.replica.digest()
        self.bench.restart()
        assert self.bench.replica.digest() == before

    @rule()
    def crash(self) -> None:
        """What was not stored is applied again."""
        before = self.bench.replica.digest()
        self.bench.crash()
        assert self.bench.replica.digest() == before

    @rule()
    def store(self) -> None:
        self.bench.replica.store()

    @rule(batch=batches)
    def find_the_disk_full(self, batch: list[Command]) -> None:
        self.memory.full = True
        self._run(batch)
        before = self.bench.replica.digest()
        with pytest.raises(StoreFull):
            self.bench.replica.store()
        assert self.bench.replica.digest() == before
        self.memory.full = False

    @invariant()
    def reads_agree(self) -> None:
        live = self.model.live()
        with self.bench.replica.view() as (txn, stamp_ms):
            assert stamp_ms == self.model.stamp_ms
            page = kv_scan(
                txn, stamp_ms, NAMESPACE, b"", b"", limit=len(live) + 1, max_bytes=1 << 20
            )
        assert page.entries == sorted(live.items())
        assert not page.more
        for key, record in live.items():
            assert self.bench.stored(key) == record

    @invariant()
    def histories_agree(self) -> None:
        for key in self.model.written:
            assert self.bench.history(key) == self.model.history(key)
        with self.bench.read() as txn:
            graves = sum(1 for _ in txn.scan(Table.GRAVES, b""))
            kept = sum(1 for _ in txn.scan(Table.HISTORY, b""))
        assert graves == len(self.model.died_ms)
        earlier = sum(min(len(each) - 1, RING) for each in self.model.written.values())
        assert kept == graves + earlier

    @invariant()
    def the_expiry_index_is_exactly_the_keys_with_a_time(self) -> None:
        with self.bench.read() as txn:
            indexed = [
                (int.from_bytes(key[:8], "big"), row[4:])
                for key, row in txn.scan(Table.EXPIRY, b"")
            ]
        expected = [
            (record.expires_at_ms, NAMESPACE + b"\x00" + key)
            for key, record in self.model.live().items()
            if record.expires_at_ms
        ]
        assert sorted(indexed) == sorted(expected)

    def _run(self, batch: list[Command], *, back_ms: int = 0) -> None:
        at_ms = self.at_ms - back_ms
        assert self.bench.run(*batch, at_ms=at_ms) == self.model.run(START_MS + at_ms, batch)
        self.last_batch = batch


TestStateMachine = StateMachineAgainstModel.TestCase
TestStateMachine.settings = settings(max_examples=60, stateful_step_count=25)
