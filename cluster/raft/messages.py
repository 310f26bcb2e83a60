"""The messages between the replicas of a group: flat tuples, as they travel.

Every message starts with (kind, group). `decode_*` functions are the only way in: they check
shape and ranges, so that nothing behind them meets a surprise. Entries carry our bytes, never
pickle (DESIGN.md row 24), and code-version or membership entries are refused.
"""

from typing import NamedTuple, TypeGuard

from cluster.storage.records import COMMANDS_KIND, NOOP_KIND

APPEND = 1
APPEND_REPLY = 2
VOTE = 3
VOTE_REPLY = 4
PREVOTE = 5
PREVOTE_REPLY = 6
TIMEOUT_NOW = 7
PROBE = 8
PROBE_REPLY = 9
TERM = 10
SNAPSHOT = 11
SNAPSHOT_REPLY = 12
APPEND_PROGRESS = 13
LEARN = 14
LEARN_TARGET = 15

KINDS = range(APPEND, LEARN_TARGET + 1)
SNAPSHOT_KINDS = (SNAPSHOT, SNAPSHOT_REPLY)

_INDEX_MAX = 1 << 62
_DIGEST_BYTES = 16
_SNAPSHOT_BYTES_MAX = 1 << 40
"""As much as the map of a state can hold."""
_ENTRY_KINDS = (COMMANDS_KIND, NOOP_KIND)


class MalformedMessageError(ValueError):
    """A peer sent what no replica of this version sends."""


class Append(NamedTuple):
    """Replicates the entries after `prev_index`; without entries it is a heartbeat."""

    term: int
    sequence: int
    """Counts the leader's sends; the reply echoes it, which ties a reset to its cause."""
    commit: int
    prev_index: int
    prev_term: int
    entries: list[tuple[bytes, int, int]]
    """(data, index, term), contiguous from prev_index + 1."""


class AppendReply(NamedTuple):
    """Also a learner's progress, which promises nothing.

    `applied_index` is how far its state is, which tells whether it could take over.
    """

    term: int
    sequence: int
    next_index: int
    reset: bool
    success: bool
    applied_index: int


class Vote(NamedTuple):
    """Also the pre-vote, whose `term` is the one the candidate would campaign in."""

    term: int
    last_index: int
    last_term: int
    round: int


class PrevoteReply(NamedTuple):
    term: int
    round: int
    granted: bool


class Probe(NamedTuple):
    """Asks whether the sender still leads `term`; the reply echoes both numbers."""

    term: int
    round: int


class SnapshotChunk(NamedTuple):
    """A piece of the snapshot that ends with entry `last_index`; without data it is an offer."""

    term: int
    last_index: int
    last_term: int
    size: int
    offset: int
    digest: bytes
    data: bytes


class SnapshotReply(NamedTuple):
    """The follower wants the bytes from `offset` on; all of them have come when it is the size."""

    term: int
    last_index: int
    offset: int


class LearnTarget(NamedTuple):
    """The leader of `term`, elected after `arrival`, has a log that ends at `last_index`."""

    term: int
    arrival: int
    last_index: int


def encode_append(group: int, append: Append) -> tuple[object, ...]:
    flat: list[object] = []
    for data, _, term in append.entries:
        flat.append(term)
        flat.append(data)
    return (
        APPEND,
        group,
        append.term,
        append.sequence,
        append.commit,
        append.prev_index,
        append.prev_term,
        flat,
    )


def decode_append(fields: list[object]) -> Append:
    term, sequence, commit, prev_index, prev_term = _numbers(fields[:-1], 5)
    flat = fields[-1]
    if not _is_list(flat) or len(flat) % 2:
        raise MalformedMessageError("append_entries without a list of (term, data)")
    entries: list[tuple[bytes, int, int]] = []
    index, last_term = prev_index, prev_term
    for position in range(0, len(flat), 2):
        entry_term, data = flat[position], flat[position + 1]
        index += 1
        if type(entry_term) is not int or not last_term <= entry_term <= term:
            raise MalformedMessageError(f"entry {index} has term {entry_term!r}")
        if type(data) is not bytes or not data or data[0] not in _ENTRY_KINDS:
            raise MalformedMessageError(f"entry {index} is of no known kind")
        last_term = entry_term
        entries.append((data, index, entry_term))
    return Append(term, sequence, commit, prev_index, prev_term, entries)


def decode_append_reply(fields: list[object]) -> AppendReply:
    term, sequence, next_index = _numbers(fields[:3], 3)
    reset, success = _flags(fields[3:5], 2)
    (applied_index,) = _numbers(fields[5:], 1)
    if next_index < 1:
        raise MalformedMessageError("next index 0 in a reply")
    return AppendReply(term, sequence, next_index, reset, success, applied_index)


def decode_vote(fields: list[object]) -> Vote:
    term, last_index, last_term, round_number = _numbers(fields, 4)
    return Vote(term, last_index, last_term, round_number)


def decode_prevote_reply(fields: list[object]) -> PrevoteReply:
    term, round_number = _numbers(fields[:2], 2)
    (granted,) = _flags(fields[2:], 1)
    return PrevoteReply(term, round_number, granted)


def decode_probe(fields: list[object]) -> Probe:
    term, round_number = _numbers(fields, 2)
    return Probe(term, round_number)


def decode_learn(fields: list[object]) -> int:
    """The number of the learner's arrival."""
    (arrival,) = _numbers(fields, 1)
    return arrival


def decode_learn_target(fields: list[object]) -> LearnTarget:
    term, arrival, last_index = _numbers(fields, 3)
    return LearnTarget(term, arrival, last_index)


def decode_snapshot(fields: list[object]) -> SnapshotChunk:
    term, last_index, last_term, size, offset = _numbers(fields[:-2], 5)
    digest, data = fields[-2:]
    if type(digest) is not bytes or type(data) is not bytes or len(digest) != _DIGEST_BYTES:
        raise MalformedMessageError("a piece of a snapshot without its digest and bytes")
    if not last_index or last_term > term or not offset + len(data) <= size <= _SNAPSHOT_BYTES_MAX:
        raise MalformedMessageError(
            f"bytes {offset} to {offset + len(data)} of a snapshot of {size}, entry {last_index}"
            f" of term {last_term}"
        )
    return SnapshotChunk(term, last_index, last_term, size, offset, digest, data)


def decode_snapshot_reply(fields: list[object]) -> SnapshotReply:
    term, last_index, offset = _numbers(fields, 3)
    return SnapshotReply(term, last_index, offset)


def decode_term(fields: list[object]) -> int:
    (term,) = _numbers(fields, 1)
    return term


def _numbers(fields: list[object], count: int) -> list[int]:
    if len(fields) != count:
        raise MalformedMessageError(f"{count} numbers expected, {len(fields)} fields found")
    numbers: list[int] = []
    for field in fields:
        if type(field) is not int or not 0 <= field < _INDEX_MAX:
            raise MalformedMessageError(f"{field!r} is no term, index or sequence")
        numbers.append(field)
    return numbers


def _flags(fields: list[object], count: int) -> list[bool]:
    flags = [field for field in fields if isinstance(field, bool)]
    if len(flags) != count or len(fields) != count:
        raise MalformedMessageError(f"{count} flags expected, {fields!r} found")
    return flags


def _is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)
