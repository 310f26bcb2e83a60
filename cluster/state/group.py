"""Consumer groups: what each command does to them.

A group is made by its first member, reader or settings, and with it its stream. A record belongs to
at most one consumer of a group at a time: its entry is leased, delayed or due, never two of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.state.commands import EMPTY, GROUP_LOCKED
from cluster.state.group_commands import (
    GROUP_ACK,
    GROUP_CLAIM,
    GROUP_CONFIGURE,
    GROUP_CREATE,
    GROUP_DELETE,
    GROUP_JOIN,
    GROUP_LEAVE,
    GROUP_NACK,
    GROUP_READ,
    GROUP_TOUCH,
    WAIT_FOR_KEYS,
    WAIT_FOR_LEASE,
    WAIT_FOR_RECORDS,
)
from cluster.state.group_lease import admit, end_lease, hold_lease, lease_due, renew_lease
from cluster.state.group_rows import (
    ENTRY_TIMER,
    LEASE_TIMER,
    LEASED,
    SLOTS_DEFAULT,
    delete_group_name,
)
from cluster.state.group_take import Choice
from cluster.state.group_work import entry_due, find_group, open_group
from cluster.state.stream import GROUP_TABLES
from cluster.state.stream_rows import FIRST_ID, Id, previous_id, scan_records
from cluster.state.timers import NEVER_MS
from flo.wire.group_messages import GroupMode
from flo.wire.status import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.state.commands import Result
    from cluster.state.context import Context
    from cluster.state.group_commands import (
        AckCommand,
        ClaimCommand,
        GroupCommand,
        GroupConfigureCommand,
        GroupCreateCommand,
        GroupReadCommand,
        MemberCommand,
        NackCommand,
        TouchCommand,
    )
    from cluster.state.group_rows import Entry
    from cluster.state.group_work import GroupWork

_DONE: Result = (0,)
_LOCKED: Result = (GROUP_LOCKED,)
_NOT_FOUND: Result = (int(Reason.NOT_FOUND), b"no such stream or group")
_NOTHING_CLAIMED: Result = (0, b"claimed", 0, b"", None)


def create(context: Context, command: GroupCreateCommand) -> Result:
    """Makes a group. One of the same mode is there already: its settings are set."""
    _, _, _, _, namespace, stream, name, mode, start_ms, start_sequence, tail, *settings = command
    work = find_group(context, namespace, stream, name)
    if work is None:
        work = open_group(context, namespace, stream, name)
        work.group.mode = mode
        if tail:
            _begin_at_end(work)
        elif start_ms is not None:
            _begin_at(work, (start_ms, start_sequence or 0))
    elif work.group.mode != mode:
        text = f"the group exists in another mode: {GroupMode(work.group.mode).name.lower()}"
        return int(Reason.CONDITION_FAILED), text.encode()
    refusal = _set(work, *settings)
    work.finish()
    return refusal or _DONE


def configure(context: Context, command: GroupConfigureCommand) -> Result:
    """Changes settings. They hold for what happens from now on, not for leases there are."""
    _, _, _, _, namespace, stream, name, *settings = command
    work = find_group(context, namespace, stream, name)
    if work is None:
        return _NOT_FOUND
    refusal = _set(work, *settings)
    work.finish()
    return refusal or _DONE


def delete(context: Context, command: GroupCommand) -> Result:
    """Removes a group with all that is pending in it."""
    _, _, _, _, namespace, stream, name = command
    work = find_group(context, namespace, stream, name)
    if work is None:
        return 0, False
    txn, group = context.txn, work.group
    if group.lease_timer_ms:
        context.timers.remove(txn, group.lease_timer_ms, LEASE_TIMER, work.prefix)
    delete_group_name(txn, work.prefix)
    context.groups.delete(txn, work.full)
    for table in GROUP_TABLES:
        context.garbage.add(txn, table, work.prefix)
    work.stream.groups -= 1
    context.streams.changed(work.stream_full, work.stream)
    return 0, True


def join(context: Context, command: MemberCommand) -> Result:
    """Makes a consumer a member."""
    _, _, _, _, namespace, stream, name, consumer = command
    work = open_group(context, namespace, stream, name)
    admitted = admit(work, consumer)
    work.finish()
    return _DONE if admitted else _LOCKED


def leave(context: Context, command: MemberCommand) -> Result:
    """Ends a membership; what is pending stays. An unknown member has left already."""
    _, _, _, _, namespace, stream, name, consumer = command
    work = find_group(context, namespace, stream, name)
    if work is not None:
        work.set_joined(consumer, joined=False)
        if work.group.holder == consumer:
            end_lease(work)
        work.finish()
    return _DONE


def read(context: Context, command: GroupReadCommand) -> Result:
    """Leases what is due again, then what is new."""
    _, _, _, _, namespace, stream, name, consumer, limit, _, max_bytes = command
    work = open_group(context, namespace, stream, name)
    if not admit(work, consumer):
        _wake_next(work)
        work.finish()
        return _LOCKED
    work.pass_trimmed()
    choice = Choice(work, consumer, limit, max_bytes)
    holds = hold_lease(work, consumer)
    if holds and choice.choose_due():
        choice.choose_new()
    if choice.page.refused is not None:
        return _refuse(work, choice)
    ids = choice.deliver()
    if ids:
        _wake_next(work)
    work.finish()
    if not ids:
        return _nothing(work, command, holds=holds)
    return 0, b"read", work.stream.stream_id, ids


def ack(context: Context, command: AckCommand) -> Result:
    """Ends the delivery of records, whoever says so. What is not pending is ignored."""
    _, _, _, _, namespace, stream, name, consumer, ids = command
    work = find_group(context, namespace, stream, name)
    if work is None:
        return _NOT_FOUND
    for each in ids:
        of = (each[0], each[1])
        entry = work.find(of)
        if entry is not None:
            work.drop(of, entry)
    renew_lease(work, consumer)
    work.finish()
    return _DONE


def nack(context: Context, command: NackCommand) -> Result:
    """Has records delivered again. What is not leased, or to another consumer, is ignored."""
    _, _, _, _, namespace, stream, name, consumer, ids, delay_ms = command
    work = find_group(context, namespace, stream, name)
    if work is None:
        return _NOT_FOUND
    for each in ids:
        of = (each[0], each[1])
        entry = work.find(of)
        if entry is None or not _is_leased_to(entry, consumer):
            continue
        if of < work.stream.first:
            work.drop(of, entry)
        else:
            work.give_back(of, entry, delay_ms)
    renew_lease(work, consumer)
    work.finish()
    return _DONE


def touch(context: Context, command: TouchCommand) -> Result:
    """Lets leases end later, or sooner. What is not leased, or to another, is ignored."""
    _, _, _, _, namespace, stream, name, consumer, ids, extend_ms = command
    work = find_group(context, namespace, stream, name)
    if work is None:
        return _NOT_FOUND
    if extend_ms is None:
        extend_ms = work.group.ack_timeout_ms or NEVER_MS
    for each in ids:
        of = (each[0], each[1])
        entry = work.find(of)
        if entry is not None and _is_leased_to(entry, consumer):
            work.extend(of, entry, extend_ms)
    renew_lease(work, consumer)
    work.finish()
    return _DONE


def claim(context: Context, command: ClaimCommand) -> Result:
    """Takes entries over: a consumer's own, or those that were idle for long enough."""
    namespace, stream, name, consumer, min_idle_ms, *start, limit, max_bytes = command[4:]
    work = find_group(context, namespace, stream, name)
    if work is None:
        return _NOTHING_CLAIMED
    if not admit(work, consumer):
        work.finish()
        return _LOCKED
    work.pass_trimmed()
    choice = Choice(work, consumer, limit, max_bytes)
    cursor: Id | None = None
    if hold_lease(work, consumer):
        cursor = choice.choose_claimed((start[0], start[1]), min_idle_ms)
    if choice.page.refused is not None:
        return _refuse(work, choice)
    ids = choice.deliver()
    work.finish()
    return 0, b"claimed", work.stream.stream_id, ids, cursor


HANDLERS: dict[int, Callable[..., Result]] = {
    GROUP_CREATE: create,
    GROUP_CONFIGURE: configure,
    GROUP_DELETE: delete,
    GROUP_JOIN: join,
    GROUP_LEAVE: leave,
    GROUP_READ: read,
    GROUP_ACK: ack,
    GROUP_NACK: nack,
    GROUP_TOUCH: touch,
    GROUP_CLAIM: claim,
}

TIMER_HANDLERS: dict[int, Callable[[Context, bytes], None]] = {
    ENTRY_TIMER: entry_due,
    LEASE_TIMER: lease_due,
}


def _wake_next(work: GroupWork) -> None:
    """Whoever was woken for a record may have gone, or may not have it. As long as there are some,
    each that was woken wakes the next."""
    if work.group.free or work.group.cursor < work.stream.last:
        work.context.touch(work.topic, 1)


def _refuse(work: GroupWork, choice: Choice) -> Result:
    """The first record does not fit in an answer; another consumer may have room for it."""
    refused = choice.page.refused
    choice.refuse()
    _wake_next(work)
    work.finish()
    return int(Reason.FIELD_TOO_LONG), refused


def _nothing(work: GroupWork, command: GroupReadCommand, *, holds: bool) -> Result:
    """There was nothing to take; what to wait for may be another thing than was thought."""
    waits = WAIT_FOR_RECORDS if holds else WAIT_FOR_LEASE
    if work.group.mode == GroupMode.KEY_SHARED:
        waits = WAIT_FOR_KEYS
    if waits == command[9]:
        return (EMPTY,)
    if waits == WAIT_FOR_LEASE:
        # It was woken in the holder's place.
        work.context.touch(work.topic, 1)
    return EMPTY, (*command[4:9], waits, command[10])


def _is_leased_to(entry: Entry, consumer: bytes) -> bool:
    """A client that names no consumer means whoever has it."""
    return entry.state == LEASED and consumer in (b"", entry.consumer)


def _begin_at(work: GroupWork, start: Id) -> None:
    group, stream = work.group, work.stream
    if start == FIRST_ID:
        return
    row = next(scan_records(work.context.txn, stream, start), None)
    group.cursor_ms, group.cursor_sequence = previous_id(start)
    group.cursor_ordinal = stream.appended if row is None else row.ordinal


def _begin_at_end(work: GroupWork) -> None:
    work.group.cursor_ms, work.group.cursor_sequence = work.stream.last
    work.group.cursor_ordinal = work.stream.appended


def _set(
    work: GroupWork,
    ack_timeout_ms: int | None,
    max_deliver: int | None,
    max_standbys: int | None,
    slots: int | None,
) -> Result | None:
    group = work.group
    slots = group.slots if slots is None else slots or SLOTS_DEFAULT
    if slots != group.slots and (group.pending or group.parked):
        text = b"the number of slots changes only while nothing is pending"
        return int(Reason.CONDITION_FAILED), text
    group.slots = slots
    if ack_timeout_ms is not None:
        group.ack_timeout_ms = ack_timeout_ms
    if max_deliver is not None:
        group.max_deliver = max_deliver
    if max_standbys is not None:
        group.max_standbys = max_standbys
    return None
