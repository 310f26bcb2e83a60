"""What clients did and what they were told: one record per call, as a file of JSON lines.

A client is one sequence of calls. When a call ends with an unknown outcome its client retires and
another number goes on, for the call may still take effect, beside everything that comes later.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, TextIO, TypedDict, cast

NEVER = 1 << 62
"""The end of a call that was never answered: after everything else."""


class Kind(StrEnum):
    """What a call asks for."""

    GET = "get"
    PUT = "put"
    PUT_IF_ABSENT = "put if absent"
    CAS = "cas"
    """A put that requires a version; version 0 means that the key is absent."""
    DELETE = "delete"
    INCR = "incr"


PUTS = (Kind.PUT, Kind.PUT_IF_ABSENT, Kind.CAS)


class Outcome(StrEnum):
    """What is known about a call. An answer that says no, as a conflict, is `OK` too."""

    OK = "ok"
    FAILED = "failed"
    """It had no effect and never will."""
    UNKNOWN = "unknown"
    """It may have had its effect, may have it later, or never."""


class Answer(NamedTuple):
    """What the cluster said."""

    happened: bool = True
    """False: nothing was changed, for the condition did not hold, or there was nothing to
    delete."""
    version: int = 0
    """Of the key after a write, or as read; 0 when it is absent or the answer does not tell."""
    value: bytes | None = None
    """As read, or the counter after an increment in the bytes in which it is stored."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One call. `start` and `end` are on one clock: equal ends and starts do not occur."""

    client: int
    kind: Kind
    key: str
    start: int
    end: int
    outcome: Outcome
    value: bytes = b""
    """What a put stores."""
    number: int = 0
    """The version that a CAS requires, or what an increment adds."""
    answer: Answer | None = None
    """Only with outcome OK."""

    def __str__(self) -> str:
        return f"{self.kind}{self._argument()} -> {self._result()}"

    def _argument(self) -> str:
        if self.kind is Kind.INCR:
            return f" by {self.number}"
        if self.kind is Kind.CAS:
            return f" of version {self.number} to {show_value(self.value)}"
        return f" {show_value(self.value)}" if self.kind in PUTS else ""

    def _result(self) -> str:
        answer = self.answer
        if answer is None:
            return str(self.outcome)
        if not answer.happened:
            return "nothing there" if self.kind is Kind.DELETE else "refused"
        if self.kind is Kind.DELETE:
            return "deleted"
        if self.kind in PUTS:
            return f"version {answer.version}"
        if answer.value is None:
            return "absent"
        return f"{show_value(answer.value)} version {answer.version}"


_COUNTER_BYTES = 8
_SHOWN_BYTES = 24


def counter_bytes(total: int) -> bytes:
    """How a counter is stored."""
    return total.to_bytes(_COUNTER_BYTES, "little", signed=True)


def counter_value(value: bytes | None) -> int | None:
    """The number that a stored value counts from; None when it is no counter."""
    if value is None:
        return 0
    if len(value) != _COUNTER_BYTES:
        return None
    return int.from_bytes(value, "little", signed=True)


def show_value(value: bytes) -> str:
    """A value for people: text as it is, counters as numbers."""
    if len(value) == _COUNTER_BYTES and not value.decode("latin-1").isprintable():
        return str(counter_value(value))
    rest = f"... ({len(value)} bytes)" if len(value) > _SHOWN_BYTES else ""
    return repr(value[:_SHOWN_BYTES])[1:] + rest


class Recorder:
    """Writes calls to a file as they end, and holds in memory only those under way.

    Its clock counts the beginnings and ends of calls. That is their real order, as all of them are
    told here by one thread: a call that ended before another began has the smaller number.
    """

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("w")
        self._clock = 0
        self._open: dict[int, Operation] = {}

    def begin(
        self, client: int, kind: Kind, key: str, *, value: bytes = b"", number: int = 0
    ) -> Operation:
        """A call is about to be made."""
        begun = Operation(client, kind, key, self._tick(), NEVER, Outcome.UNKNOWN, value, number)
        self._open[begun.start] = begun
        return begun

    def end(self, begun: Operation, outcome: Outcome, answer: Answer | None = None) -> Operation:
        """The call is over, as far as its client is concerned."""
        assert (answer is not None) == (outcome is Outcome.OK)
        del self._open[begun.start]
        end = NEVER if outcome is Outcome.UNKNOWN else self._tick()
        ended = Operation(
            begun.client,
            begun.kind,
            begun.key,
            begun.start,
            end,
            outcome,
            begun.value,
            begun.number,
            answer,
        )
        self._write(ended)
        return ended

    def close(self) -> None:
        """What is still under way counts as unknown."""
        for operation in self._open.values():
            self._write(operation)
        self._open.clear()
        self._file.close()

    def _tick(self) -> int:
        self._clock += 1
        return self._clock

    def _write(self, operation: Operation) -> None:
        self._file.write(json.dumps(_to_row(operation), separators=(",", ":")) + "\n")


def load(path: Path) -> Iterator[Operation]:
    """The calls of a file, in the order in which they ended."""
    with path.open() as file:
        for line in file:
            yield _from_row(cast(_Row, json.loads(line)))


class _Row(TypedDict):
    client: int
    kind: str
    key: str
    start: int
    end: int
    outcome: str
    value: str
    number: int
    answer: tuple[bool, int, str | None] | None


def _to_row(operation: Operation) -> _Row:
    answer = operation.answer
    return {
        "client": operation.client,
        "kind": operation.kind,
        "key": operation.key,
        "start": operation.start,
        "end": operation.end,
        "outcome": operation.outcome,
        "value": operation.value.decode("latin-1"),
        "number": operation.number,
        "answer": None
        if answer is None
        else (
            answer.happened,
            answer.version,
            None if answer.value is None else answer.value.decode("latin-1"),
        ),
    }


def _from_row(row: _Row) -> Operation:
    answer: Answer | None = None
    if row["answer"] is not None:
        happened, version, value = row["answer"]
        answer = Answer(happened, version, None if value is None else value.encode("latin-1"))
    return Operation(
        row["client"],
        Kind(row["kind"]),
        row["key"],
        row["start"],
        row["end"],
        Outcome(row["outcome"]),
        row["value"].encode("latin-1"),
        row["number"],
        answer,
    )
