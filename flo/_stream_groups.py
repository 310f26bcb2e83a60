"""The consumer groups of streams: a part of `client.stream`."""

from collections.abc import Callable, Iterable
from typing import cast

from flo._caller import Caller
from flo._checks import block_ms_of, options_of, within, within_if_given
from flo._names import decode_key, encode_key, encode_namespace, encode_text
from flo._stream_forms import (
    id_of,
    place_of,
    read_result,
    records_limit,
    records_of,
    settings_of,
    wire_id,
    wire_ids,
)
from flo.exceptions import ValidationError
from flo.stream_types import (
    FIRST_ID,
    LAST_ID,
    GroupInfo,
    GroupMember,
    PendingEntry,
    StreamClaimResult,
    StreamGroupAckOptions,
    StreamGroupCreateOptions,
    StreamGroupJoinOptions,
    StreamGroupNackOptions,
    StreamGroupReadOptions,
    StreamGroupTouchOptions,
    StreamID,
    StreamReadResult,
)
from flo.wire import group_messages as wire
from flo.wire.limits import LEASE_MS_MAX
from flo.wire.messages import Body, Deleted, Result
from flo.wire.routing import stream_home


class GroupOperations:
    """The operations on consumer groups."""

    def __init__(self, caller: Callable[[], Caller], namespace: bytes) -> None:
        self._caller = caller
        self._default_namespace = namespace

    async def group_create(
        self,
        stream: str,
        group: str,
        options: StreamGroupCreateOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> None:
        """Makes a group that is not as others are; those need not be made.

        Raises ConflictError when it is there in another mode.

        Example:
            options = StreamGroupCreateOptions(ack_timeout_ms=30_000, max_deliver=3)
            await client.stream.group_create("events", "billing", options)
        """
        options = options_of(options, StreamGroupCreateOptions)
        namespace, name = self._place(stream, options.namespace)
        body = wire.GroupCreate(
            namespace,
            name,
            _name(group, "group"),
            options.mode,
            wire_id(options.start),
            options.tail,
            settings_of(options),
        )
        await self._write(body, name, timeout_ms)

    async def group_join(
        self,
        stream: str,
        group: str,
        consumer: str,
        options: StreamGroupJoinOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> None:
        """Makes a consumer a member of a group; both are made as needed. Reading does so too.

        Example:
            await client.stream.group_join("events", "billing", "worker-1")
        """
        namespace, name = self._place(stream, options_of(options, StreamGroupJoinOptions).namespace)
        body = wire.GroupJoin(namespace, name, _name(group, "group"), _name(consumer, "consumer"))
        await self._write(body, name, timeout_ms)

    async def group_leave(
        self,
        stream: str,
        group: str,
        consumer: str,
        options: StreamGroupJoinOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> None:
        """Takes a consumer out of a group. What it has not acknowledged stays pending.

        Example:
            await client.stream.group_leave("events", "billing", "worker-1")
        """
        namespace, name = self._place(stream, options_of(options, StreamGroupJoinOptions).namespace)
        body = wire.GroupLeave(namespace, name, _name(group, "group"), _name(consumer, "consumer"))
        await self._write(body, name, timeout_ms)

    async def group_read(
        self,
        stream: str,
        group: str,
        consumer: str,
        options: StreamGroupReadOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> StreamReadResult:
        """Takes records for a consumer: first what is due once more, then new ones.

        Each is this consumer's until it is acknowledged, given back, or not acknowledged in time.

        Example:
            options = StreamGroupReadOptions(count=10, block_ms=5000)
            taken = await client.stream.group_read("events", "billing", "worker-1", options)
            done = [record.id for record in taken.records]
            await client.stream.group_ack("events", "billing", done)
        """
        options = options_of(options, StreamGroupReadOptions)
        wait_ms = block_ms_of(options.block_ms)
        namespace, name = self._place(stream, options.namespace)
        body = wire.GroupRead(
            namespace,
            name,
            _name(group, "group"),
            _name(consumer, "consumer"),
            records_limit(options.count),
            wait_ms,
        )
        caller = self._caller()
        result = await caller.call(
            body,
            partition=caller.partition_of(namespace, stream_home(name)),
            # As a dequeue: one that waits is no write of a session.
            is_write=not wait_ms,
            timeout_ms=timeout_ms,
            wait_ms=wait_ms,
        )
        return read_result(result)

    async def group_ack(
        self,
        stream: str,
        group: str,
        ids: Iterable[StreamID],
        options: StreamGroupAckOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> None:
        """Says that records are done. Ids that are not pending are left alone.

        Raises NotFoundError when there is no such stream or group.

        Example:
            taken = await client.stream.group_read("events", "billing", "worker-1")
            done = [record.id for record in taken.records]
            await client.stream.group_ack("events", "billing", done)
        """
        options = options_of(options, StreamGroupAckOptions)
        namespace, name = self._place(stream, options.namespace)
        consumer = encode_text(options.consumer, "consumer name")
        body = wire.GroupAck(namespace, name, _name(group, "group"), consumer, wire_ids(ids))
        await self._write(body, name, timeout_ms)

    async def group_nack(
        self,
        stream: str,
        group: str,
        ids: Iterable[StreamID],
        options: StreamGroupNackOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> None:
        """Gives records back, to be delivered again, at once or after a delay.

        Where the options name a consumer, what others have by now is left alone. With a delay,
        later records of the same partition key may come first.

        Example:
            taken = await client.stream.group_read("events", "billing", "worker-1")
            failed = [record.id for record in taken.records]
            await client.stream.group_nack("events", "billing", failed)
        """
        options = options_of(options, StreamGroupNackOptions)
        namespace, name = self._place(stream, options.namespace)
        delay_ms = within("delay_ms", options.delay_ms, 0, LEASE_MS_MAX)
        consumer = encode_text(options.consumer, "consumer name")
        body = wire.GroupNack(
            namespace, name, _name(group, "group"), consumer, wire_ids(ids), delay_ms
        )
        await self._write(body, name, timeout_ms)

    async def group_touch(
        self,
        stream: str,
        group: str,
        ids: Iterable[StreamID],
        options: StreamGroupTouchOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> None:
        """Says that pending records take longer.

        Where the options name a consumer, what others have by now is left alone.

        Example:
            taken = await client.stream.group_read("events", "billing", "worker-1")
            slow = [record.id for record in taken.records]
            await client.stream.group_touch("events", "billing", slow)
        """
        options = options_of(options, StreamGroupTouchOptions)
        namespace, name = self._place(stream, options.namespace)
        extend_ms = within_if_given("extend_ms", options.extend_ms, 0, LEASE_MS_MAX)
        consumer = encode_text(options.consumer, "consumer name")
        body = wire.GroupTouch(
            namespace, name, _name(group, "group"), consumer, wire_ids(ids), extend_ms
        )
        await self._write(body, name, timeout_ms)

    async def group_claim(
        self,
        stream: str,
        group: str,
        consumer: str,
        min_idle_ms: int,
        start_id: StreamID = FIRST_ID,
        count: int = 100,
        options: StreamGroupReadOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> StreamClaimResult:
        """Takes pending records over, from `start_id` on.

        With a `min_idle_ms` of 0 those that are the consumer's own, else also those of others that
        were delivered at least so long ago. What the consumer has already is answered once more; it
        counts as a delivery, and its ack timeout begins anew, but it is never taken from it.

        Example:
            claimed = await client.stream.group_claim("events", "billing", "worker-2", 60_000)
            print(len(claimed.records), claimed.done)
        """
        namespace, name = self._place(stream, options_of(options, StreamGroupReadOptions).namespace)
        within("min_idle_ms", min_idle_ms, 0, LEASE_MS_MAX)
        body = wire.GroupClaim(
            namespace,
            name,
            _name(group, "group"),
            _name(consumer, "consumer"),
            min_idle_ms,
            place_of(start_id),
            records_limit(count),
        )
        records, cursor = cast(wire.Claimed, await self._write(body, name, timeout_ms))
        found = records_of(records)
        if cursor is None:
            return StreamClaimResult(found, LAST_ID, done=True)
        return StreamClaimResult(found, id_of(cursor))

    async def group_pending(
        self,
        stream: str,
        group: str,
        consumer: str = "",
        options: StreamGroupReadOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> list[PendingEntry]:
        """What is delivered and not acknowledged, of one consumer or all; at most 1,000 entries.

        Those of one consumer are looked for among the oldest 10,000 of the group.

        Example:
            for entry in await client.stream.group_pending("events", "billing"):
                print(entry.id, entry.consumer, entry.delivery_count)
        """
        namespace, name = self._place(stream, options_of(options, StreamGroupReadOptions).namespace)
        who = _name(consumer, "consumer") if consumer else None
        body = wire.GroupPending(namespace, name, _name(group, "group"), who)
        result = cast(wire.PendingList, await self._read(body, name, timeout_ms))
        return [
            PendingEntry(id_of(place), decode_key(owner), deliveries)
            for place, deliveries, owner in result.entries
        ]

    async def group_info(
        self,
        stream: str,
        group: str,
        *,
        namespace: str | None = None,
        timeout_ms: float | None = None,
    ) -> GroupInfo:
        """How far a group is, and who is in it. One that is not there looks like a new one.

        Example:
            await client.stream.group_join("events", "billing", "worker-1")
            print((await client.stream.group_info("events", "billing")).lag)
        """
        space, name = self._place(stream, namespace)
        body = wire.GroupInfo(space, name, _name(group, "group"))
        found = cast(wire.GroupInfoResult, await self._read(body, name, timeout_ms))
        return GroupInfo(
            found.mode,
            id_of(found.cursor),
            found.pending,
            found.lag,
            found.settings.ack_timeout_ms or 0,
            found.settings.max_deliver or 0,
            [GroupMember(decode_key(who), count, active) for who, count, active in found.consumers],
        )

    async def group_delete(
        self,
        stream: str,
        group: str,
        *,
        namespace: str | None = None,
        timeout_ms: float | None = None,
    ) -> bool:
        """Removes a group; says whether it was there. The records stay.

        Example:
            await client.stream.group_delete("events", "billing")
        """
        space, name = self._place(stream, namespace)
        body = wire.GroupDelete(space, name, _name(group, "group"))
        return bool(cast(Deleted, await self._write(body, name, timeout_ms)).existed)

    async def _write(self, body: Body, name: bytes, timeout_ms: float | None) -> Result:
        caller = self._caller()
        partition = caller.partition_of(_namespace_of(body), stream_home(name))
        return await caller.call(body, partition=partition, is_write=True, timeout_ms=timeout_ms)

    async def _read(
        self, body: Body, name: bytes, timeout_ms: float | None, wait_ms: int = 0
    ) -> Result:
        caller = self._caller()
        partition = caller.partition_of(_namespace_of(body), stream_home(name))
        return await caller.call(body, partition=partition, timeout_ms=timeout_ms, wait_ms=wait_ms)

    def _place(self, stream: str, override: str | None) -> tuple[bytes, bytes]:
        namespace = self._namespace(override)
        return namespace, encode_key(namespace, stream, "stream name")

    def _namespace(self, override: str | None) -> bytes:
        return self._default_namespace if override is None else encode_namespace(override)


def _namespace_of(body: Body) -> bytes:
    return cast(wire.GroupDelete, body).namespace


def _name(name: str, what: str) -> bytes:
    encoded = encode_text(name, f"{what} name")
    if not 1 <= len(encoded) <= 255 or b"\x00" in encoded:
        raise ValidationError(f"{what} name of {len(encoded)} bytes: 1 to 255, without NUL")
    return encoded
