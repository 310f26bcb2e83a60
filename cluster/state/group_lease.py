"""The holder of an exclusive group, and those who stand by.

The holder keeps the group as long as it is heard of every 30 seconds: a read, also one that waits,
a claim, or an acknowledgement, nack or touch with its name. When it is silent, or leaves, what it
has is given back, and then the next gets everything in order.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from cluster.state import group_rows as rows
from cluster.state.group_rows import LEASE_TIMER, LEASED
from cluster.state.group_work import group_of_prefix
from flo.wire.group_messages import GroupMode
from flo.wire.limits import WAIT_MS_MAX

if TYPE_CHECKING:
    from cluster.state.context import Context
    from cluster.state.group_rows import Entry
    from cluster.state.group_work import GroupWork
    from cluster.state.stream_rows import Id

LEASE_MS = 30_000
"""How long the holder of an exclusive group may be silent."""
RENEW_MS = 10_000
"""So long before that, a read of the holder that waits is woken: then it is heard of."""
STANDBY_MS = WAIT_MS_MAX + LEASE_MS
"""How long one who stands by may be silent before another gets its place: a wait is silent."""
GIVEN_BACK_MAX = 256
"""Entries that are given back at once, of a holder that is gone."""
_LOOKED_MAX = 1_000


def admit(work: GroupWork, consumer: bytes) -> bool:
    """Makes a consumer a member, unless enough stand by already."""
    group = work.group
    is_exclusive = group.mode == GroupMode.EXCLUSIVE
    if not work.member(consumer).joined:
        if is_exclusive and group.members > group.max_standbys and not _drop_silent(work):
            return False
        work.set_joined(consumer, joined=True)
    if is_exclusive:
        work.saw(consumer)
    return True


def hold_lease(work: GroupWork, consumer: bytes) -> bool:
    """Whether a consumer gets records now: it is the holder, or becomes it."""
    group, context = work.group, work.context
    if group.mode != GroupMode.EXCLUSIVE:
        return True
    if group.holder and group.holder != consumer:
        is_over = group.lease_until_ms <= context.stamp_ms
        if not is_over or not end_lease(work):
            return False
    group.holder = consumer
    group.lease_until_ms = context.stamp_ms + LEASE_MS
    group.given_ms = group.given_sequence = 0
    if not group.lease_timer_ms:
        _set_timer(work, group.lease_until_ms - RENEW_MS)
    return True


def renew_lease(work: GroupWork, consumer: bytes) -> None:
    """The holder has said something."""
    if consumer and work.group.holds(consumer, work.context.stamp_ms):
        hold_lease(work, consumer)


def end_lease(work: GroupWork) -> bool:
    """The holder is gone, and no member any more. Once all it had is given back, the next who
    stands by takes over; until then nobody does, and this is false."""
    group = work.group
    work.set_joined(group.holder, joined=False)
    group.lease_until_ms = 0
    if not _give_back_some(work, group.holder):
        # The next entry goes on, whenever the lease would have ended.
        if group.lease_timer_ms:
            timers = work.context.timers
            timers.remove(work.context.txn, group.lease_timer_ms, LEASE_TIMER, work.prefix)
        _set_timer(work, work.context.stamp_ms)
        return False
    group.holder = b""
    group.given_ms = group.given_sequence = 0
    work.context.touch(standby_topic(work.topic), 1)
    return True


def lease_due(context: Context, what: bytes) -> None:
    """The lease of a holder may be over, or soon be."""
    work = group_of_prefix(context, what)
    if work is None:
        return
    group = work.group
    group.lease_timer_ms = 0
    quiet_ms = group.lease_until_ms - RENEW_MS
    if not group.holder:
        pass
    elif group.lease_until_ms <= context.stamp_ms:
        end_lease(work)
    elif quiet_ms <= context.stamp_ms:
        context.touch(work.topic, 1)
        _set_timer(work, group.lease_until_ms)
    else:
        # It is not moved with each renewal: it looks when it comes.
        _set_timer(work, quiet_ms)
    work.finish()


def standby_topic(topic: bytes) -> bytes:
    """What those wait for who stand by, in the group of a topic."""
    return b"h" + topic[1:]


def _set_timer(work: GroupWork, at_ms: int) -> None:
    context = work.context
    work.group.lease_timer_ms = at_ms
    context.timers.add(context.txn, at_ms, LEASE_TIMER, work.prefix)


def _give_back_some(work: GroupWork, holder: bytes) -> bool:
    """Has what a consumer leased delivered again, a bounded number; whether that was all."""
    group = work.group
    if not work.member(holder).entries:
        return True
    found: list[tuple[Id, Entry]] = []
    start = max(group.given, work.stream.first)
    is_all = True
    entries = rows.scan_entries(work.context.txn, work.prefix, start)
    for looked, (key, entry) in enumerate(entries):
        of = rows.id_of_key(key)
        if looked == _LOOKED_MAX or len(found) == GIVEN_BACK_MAX:
            group.given_ms, group.given_sequence = of
            is_all = False
            break
        if entry.state == LEASED and entry.consumer == holder:
            found.append((of, entry))
    for of, entry in found:
        work.give_back(of, entry)
    return is_all


def _drop_silent(work: GroupWork) -> bool:
    """Takes the place of one who stands by no more, if there is any."""
    context, holder = work.context, work.group.holder
    members = rows.scan_members(context.txn, work.prefix)
    for name, member in islice(members, _LOOKED_MAX):
        is_silent = member.seen_ms + STANDBY_MS <= context.stamp_ms
        if is_silent and name != holder and work.member(name).joined:
            work.set_joined(name, joined=False)
            return True
    return False
