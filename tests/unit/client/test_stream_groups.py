"""The operations on consumer groups, as they travel and come back."""

from collections.abc import AsyncIterator

import pytest

from flo import (
    GroupInfo,
    GroupMember,
    GroupMode,
    PendingEntry,
    StreamClaimResult,
    StreamGroupAckOptions,
    StreamGroupCreateOptions,
    StreamGroupJoinOptions,
    StreamGroupNackOptions,
    StreamGroupReadOptions,
    StreamGroupTouchOptions,
    StreamID,
    ValidationError,
)
from flo.wire import group_messages as wire
from flo.wire import messages as base
from flo.wire.stream_messages import Records, StreamId, StreamRecord
from tests.unit.client.scripted import Scripted, scripted

WHERE = (b"default", b"events", b"billing")
ELSEWHERE = (b"other", b"events", b"billing")
ID, WIRE_ID = StreamID(1700, 3), StreamId(1700, 3)
U64_MAX = (1 << 64) - 1


@pytest.fixture
async def there() -> AsyncIterator[Scripted]:
    async with scripted() as there:
        yield there


async def test_create(there: Scripted) -> None:
    there.answers[wire.GroupCreate] = base.Done()
    create = there.client.stream.group_create
    await create("events", "billing")
    assert there.last() == wire.GroupCreate(*WHERE)
    options = StreamGroupCreateOptions("other", GroupMode.EXCLUSIVE, ID, False, 1000, 3, 2)
    await create("events", "billing", options)
    assert there.last() == wire.GroupCreate(
        *ELSEWHERE, GroupMode.EXCLUSIVE, WIRE_ID, False, wire.GroupSettings(1000, 3, 2)
    )


async def test_join_and_leave(there: Scripted) -> None:
    there.answers |= dict.fromkeys((wire.GroupJoin, wire.GroupLeave), base.Done())
    stream, elsewhere = there.client.stream, StreamGroupJoinOptions("other")
    await stream.group_join("events", "billing", "me")
    assert there.last() == wire.GroupJoin(*WHERE, b"me")
    await stream.group_leave("events", "billing", "me", elsewhere)
    assert there.last() == wire.GroupLeave(*ELSEWHERE, b"me")


async def test_read(there: Scripted) -> None:
    there.answers[wire.GroupRead] = Records((StreamRecord(WIRE_ID, b"x"),))
    read = there.client.stream.group_read
    found = await read("events", "billing", "me")
    assert [(each.id, each.payload, each.headers) for each in found.records] == [(ID, b"x", None)]
    assert there.last() == wire.GroupRead(*WHERE, b"me")
    assert there.last_is_exactly_once, "a lost answer is given again"
    await read("events", "billing", "me", StreamGroupReadOptions("other", 5, 3000))
    assert there.last() == wire.GroupRead(*ELSEWHERE, b"me", 5, 3000)
    assert not there.last_is_exactly_once


async def test_what_becomes_of_records(there: Scripted) -> None:
    kinds = (wire.GroupAck, wire.GroupNack, wire.GroupTouch)
    there.answers |= dict.fromkeys(kinds, base.Done())
    stream = there.client.stream
    await stream.group_ack("events", "billing", [ID])
    assert there.last() == wire.GroupAck(*WHERE, b"", (WIRE_ID,))
    await stream.group_ack("events", "billing", [ID], StreamGroupAckOptions("other", "me"))
    assert there.last() == wire.GroupAck(*ELSEWHERE, b"me", (WIRE_ID,))
    await stream.group_nack("events", "billing", {ID}, StreamGroupNackOptions(None, "me", 50))
    assert there.last() == wire.GroupNack(*WHERE, b"me", (WIRE_ID,), 50)
    options = StreamGroupTouchOptions(extend_ms=9000)
    await stream.group_touch("events", "billing", [ID], options)
    assert there.last() == wire.GroupTouch(*WHERE, b"", (WIRE_ID,), 9000)
    assert there.last_is_exactly_once


async def test_claim(there: Scripted) -> None:
    claim = there.client.stream.group_claim
    there.answers[wire.GroupClaim] = wire.Claimed((StreamRecord(WIRE_ID, b"x"),), StreamId(9, 1))
    claimed = await claim("events", "billing", "me", 50, ID, 7)
    assert there.last() == wire.GroupClaim(*WHERE, b"me", 50, WIRE_ID, 7)
    assert [each.id for each in claimed.records] == [ID]
    assert (claimed.next_cursor, claimed.done) == (StreamID(9, 1), False)
    there.answers[wire.GroupClaim] = wire.Claimed((), None)
    rest = await claim("events", "billing", "me", 0)
    assert rest == StreamClaimResult([], StreamID(U64_MAX, U64_MAX), done=True)


async def test_pending(there: Scripted) -> None:
    there.answers[wire.GroupPending] = wire.PendingList((wire.PendingEntry(WIRE_ID, 2, b"me"),))
    pending = await there.client.stream.group_pending("events", "billing")
    assert pending == [PendingEntry(ID, "me", 2)]
    assert there.last() == wire.GroupPending(*WHERE)
    options = StreamGroupReadOptions("other")
    await there.client.stream.group_pending("events", "billing", "me", options)
    assert there.last() == wire.GroupPending(*ELSEWHERE, b"me")


async def test_info_and_delete(there: Scripted) -> None:
    there.answers[wire.GroupInfo] = wire.GroupInfoResult(
        mode=GroupMode.KEY_SHARED,
        cursor=WIRE_ID,
        pending=2,
        lag=5,
        settings=wire.GroupSettings(1000, 3),
        consumers=(wire.ConsumerSummary(b"me", 2, True),),
    )
    info = await there.client.stream.group_info("events", "billing")
    assert info == GroupInfo(GroupMode.KEY_SHARED, ID, 2, 5, 1000, 3, [GroupMember("me", 2, True)])
    assert there.last() == wire.GroupInfo(*WHERE)
    there.answers[wire.GroupDelete] = base.Deleted(False)
    assert not await there.client.stream.group_delete("events", "billing", namespace="other")
    assert there.last() == wire.GroupDelete(*ELSEWHERE)


async def test_what_no_server_takes_is_not_sent(there: Scripted) -> None:
    stream = there.client.stream
    before = len(there.node.requests)
    for group in ("", "g" * 256, "a\0b", "\ud800"):
        with pytest.raises(ValidationError, match="group name"):
            await stream.group_join("events", group, "me")
    with pytest.raises(ValidationError, match="consumer name"):
        await stream.group_read("events", "billing", "")
    with pytest.raises(ValidationError, match="delay_ms"):
        await stream.group_nack("events", "billing", [ID], StreamGroupNackOptions(delay_ms=-1))
    with pytest.raises(ValidationError, match="min_idle_ms"):
        await stream.group_claim("events", "billing", "me", -1)
    with pytest.raises(ValidationError, match=r"give a list, as \[1700-3\]"):
        await stream.group_ack("events", "billing", ID)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert len(there.node.requests) == before
