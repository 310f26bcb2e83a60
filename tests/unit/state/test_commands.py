"""The bytes of entries: they stay readable forever, and what is not known is refused."""

from __future__ import annotations

from typing import cast

import pytest

from cluster.state import commands
from cluster.state.commands import (
    INCR,
    OPEN_SESSION,
    PUT,
    Command,
    decode_entry,
    encode_entry,
    is_command,
)
from cluster.state.errors import UnknownCommand
from cluster.state.machine import HANDLERS
from cluster.state.packing import pack
from cluster.state.txn_commands import TXN_COMMIT
from tests.unit.state import stream_kit
from tests.unit.state.helpers import (
    Triple,
    delete,
    expire,
    incr,
    json_delete,
    json_set,
    open_session,
    put,
    within,
)
from tests.unit.state.queue_bench import EVERY_COMMAND, dequeue, enqueue, touch

ALL: list[Command] = [
    within(Triple(7, 12, 9), put(b"k", b"v", ttl_ms=2**44, flags=3, cas=2**64 - 1)),
    delete(b"k", cas=5),
    incr(b"k", -(2**63)),
    expire(b"k", 0),
    json_set(b"k", b"$.a", b"1", bytes_max=2**32),
    json_delete(b"k"),
    open_session(2**64 - 1),
    (TXN_COMMIT, 0, 0, 0, 2**64 - 1, ((PUT, *put(b"k", b"v")[4:]), (INCR, b"default", b"n", 1))),
    *EVERY_COMMAND,
    *stream_kit.EVERY_COMMAND,
]


def test_every_command_survives_the_round_trip() -> None:
    assert decode_entry(encode_entry(123, ALL)) == (123, tuple(ALL))


def test_every_command_has_a_handler_and_a_layout() -> None:
    assert {command[0] for command in ALL} == set(HANDLERS)


def test_a_clock_entry_has_no_commands() -> None:
    assert decode_entry(encode_entry(5, [])) == (5, ())


def test_codes_and_bytes_never_change() -> None:
    codes = (commands.PUT, commands.DELETE, commands.INCR, commands.EXPIRE, commands.OPEN_SESSION)
    assert codes == (0x100, 0x103, 0x10B, 0x113, 0xF001)
    assert (commands.JSON_SET, commands.JSON_DELETE, TXN_COMMIT) == (0x10D, 0x10E, 0x111)
    assert encode_entry(7, [within(Triple(1, 2, 3), put(b"k", b"v"))]).hex() == (
        "930107919acd0100010203c40764656661756c74c4016bc401760000c0"
    )


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"\xc1", id="no msgpack"),
        pytest.param(pack((1, 5, ALL))[:-1], id="cut short"),
        pytest.param(pack((1, 5, ALL)) + b"\x00", id="something after the end"),
        pytest.param(pack(7), id="no entry"),
        pytest.param(pack((1, 5, (7,))), id="no command"),
        pytest.param(pack((1, 5, ((),))), id="empty command"),
        pytest.param(pack((2, 5, ())), id="newer entry version"),
        pytest.param(pack((1, 5, ((0x999, 0, 0, 0),))), id="newer command"),
        pytest.param(pack((1, 5, ((*incr(b"k"), 1),))), id="newer layout of a command"),
    ],
)
def test_what_is_not_known_is_refused(payload: bytes) -> None:
    with pytest.raises(UnknownCommand):
        decode_entry(payload)


@pytest.mark.parametrize("command", ALL)
def test_a_command_of_the_right_types_may_enter_an_entry(command: Command) -> None:
    assert is_command(command)
    # From another node, sequences come as lists.
    assert is_command(cast("list[object]", json_like(command)))


def json_like(item: object) -> object:
    """With lists for tuples."""
    if isinstance(item, tuple):
        return [json_like(each) for each in cast("tuple[object, ...]", item)]
    return item


@pytest.mark.parametrize(
    "command",
    [
        dequeue(0),
        dequeue(101),
        dequeue(visibility_ms=0),
        touch(*range(10_001)),
        touch(-1),
        enqueue(priority=256),
        enqueue(delay_ms=2**64 - 1),
        enqueue(dedup=b"k" * 256),
    ],
)
def test_what_would_stop_a_replica_enters_no_entry(command: Command) -> None:
    assert not is_command(command)


def test_only_a_command_of_the_right_types_may_enter_an_entry() -> None:
    good = (PUT, 7, 1, 1, b"ns", b"key", b"value", 0, 0, None)
    assert is_command(good)
    assert is_command((*good[:-1], 3))
    assert not is_command(())
    assert not is_command(good[:-1])
    assert not is_command((0x999, *good[1:]))
    assert not is_command((PUT, 7, 1, 1, b"ns", "key", b"value", 0, 0, None))
    assert not is_command((PUT, None, 1, 1, b"ns", b"key", b"value", 0, 0, None))
    assert not is_command((PUT, -1, 1, 1, b"ns", b"key", b"value", 0, 0, None))
    assert not is_command((PUT, 7, 1, 1, b"ns", b"key", b"value", -(2**62), 0, None))
    assert not is_command((PUT, 7, 1, 1, b"ns", b"key", b"value", 0, 4, None))
    assert not is_command((PUT, 7, 1, 1, b"ns", b"k" * 5000, b"value", 0, 0, None))
    assert is_command((INCR, 7, 1, 1, b"ns", b"key", -(2**63)))
    assert not is_command((INCR, 7, 1, 1, b"ns", b"key", 2**63))
    assert not is_command((OPEN_SESSION, 0, 0, 0, -1))
