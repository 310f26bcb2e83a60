"""Key-value operations, reached as `client.kv`.

Every operation may be given `timeout_ms`, else the client's counts. Writes are durable on a
majority of replicas when they return, and are executed exactly once, also when the client tries
them again after a lost connection. Reads see every write that returned before they began. All raise
`FloError`; see `flo.exceptions` for what an error says about the write.
"""

from collections.abc import Sequence
from typing import cast

from flo._checks import options_of
from flo._kv_documents import DocumentOperations
from flo._kv_forms import as_bytes, cas_of, delta_of, put_with, ttl_of, wait_ms_of
from flo._kv_transactions import TransactionOperations
from flo._names import decode_key, encode_key, encode_prefix
from flo.exceptions import NotFoundError, ValidationError
from flo.types import (
    DeleteOptions,
    GetOptions,
    GetResult,
    IncrResult,
    KVExistsOptions,
    KVExpireOptions,
    KVIncrOptions,
    KVMGetOptions,
    MGetEntry,
    PutOptions,
    PutResult,
    ScanOptions,
    ScanResult,
    WaitFor,
)
from flo.wire.limits import (
    MGET_KEYS_MAX,
    V1_SCAN_LIMIT_MAX,
    V2_SCAN_LIMIT_MAX,
)
from flo.wire.messages import (
    Counter,
    Deleted,
    Exists,
    KvDelete,
    KvExists,
    KvExpire,
    KvGet,
    KvIncr,
    KvMget,
    KvPut,
    KvScan,
    Page,
    Stored,
    Value,
    Values,
)
from flo.wire.status import Reason


class KVOperations(TransactionOperations, DocumentOperations):
    """The key-value operations of one client.

    Example:
        await client.kv.put("greeting", b"hello")
        print(await client.kv.exists("greeting"))  # True
    """

    async def get(
        self,
        key: str | bytes,
        options: GetOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> GetResult | None:
        """Reads a value and its version; None when the key does not exist.

        With `wait_ms` it waits for that: until the key exists, or, with `WaitFor.CHANGE`, until it
        has another version than now. None then means that nothing came in time. The wait comes on
        top of the call's time-out.

        Example:
            await client.kv.put("user:7", b"Ada")
            found = await client.kv.get("user:7")
            print(found.value)  # b'Ada'
        """
        namespace, wait_ms, wait_for_change, stale = self._default_namespace, 0, False, False
        if options is not None:
            namespace = self._namespace(options.namespace)
            wait_ms = wait_ms_of(options.wait_ms)
            wait_for_change = options.wait_for == WaitFor.CHANGE
            stale = options.stale
            if stale and wait_ms:
                raise ValidationError("a stale get cannot wait: leave out stale or wait_ms")
        caller = self._caller()
        encoded = encode_key(namespace, key)
        try:
            result = await caller.call(
                KvGet(namespace, encoded, wait_ms, wait_for_change),
                partition=None if stale else caller.partition_of(namespace, encoded),
                timeout_ms=timeout_ms,
                wait_ms=wait_ms,
                stale=stale,
            )
        except NotFoundError as error:
            if error.reason is not Reason.NOT_FOUND:
                raise
            return None
        version, value = cast(Value, result)
        return GetResult(value, version)

    async def put(
        self,
        key: str | bytes,
        value: bytes | bytearray | memoryview,
        options: PutOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> PutResult:
        """Stores a value, and returns the version that made.

        Raises ConflictError when `cas_version` is not the key's version, or the condition does not
        hold.

        Example:
            stored = await client.kv.put("user:7", b"Ada")
            # Only if nobody has written in between:
            await client.kv.put("user:7", b"Ada L.", PutOptions(cas_version=stored.version))
        """
        value = as_bytes(value)
        namespace = self._default_namespace
        if options is not None:
            namespace = self._namespace(options.namespace)
        encoded = encode_key(namespace, key)
        body = (
            KvPut(namespace, encoded, value)
            if options is None
            else put_with(namespace, encoded, value, options)
        )
        caller = self._caller()
        stored = await caller.call(
            body,
            partition=caller.partition_of(namespace, encoded),
            is_write=True,
            timeout_ms=timeout_ms,
        )
        return PutResult(cast(Stored, stored).version or 0)

    async def delete(
        self,
        key: str | bytes,
        options: DeleteOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> bool:
        """Removes a key, and returns whether it existed. Raises ConflictError as `put` does.

        Example:
            print(await client.kv.delete("user:7"))  # False
        """
        given = options_of(options, DeleteOptions)
        namespace = self._namespace(given.namespace)
        encoded = encode_key(namespace, key)
        caller = self._caller()
        deleted = await caller.call(
            KvDelete(namespace, encoded, cas_of(given.cas_version)),
            partition=caller.partition_of(namespace, encoded),
            is_write=True,
            timeout_ms=timeout_ms,
        )
        return bool(cast(Deleted, deleted).existed)

    async def mget(
        self,
        keys: Sequence[str | bytes],
        options: KVMGetOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> list[MGetEntry]:
        """Reads up to 256 keys: one entry for each in the order asked, also for a missing one.

        Each value is current; together they are no snapshot if the keys live in several partitions.

        Example:
            for entry in await client.kv.mget(["user:7", "user:8"]):
                print(entry.key, entry.value if entry.found else "is missing")
        """
        if not keys:
            return []
        if len(keys) > MGET_KEYS_MAX:
            raise ValidationError(f"mget of {len(keys)} keys: at most {MGET_KEYS_MAX}")
        namespace = self._namespace(options_of(options, KVMGetOptions).namespace)
        encoded = tuple(encode_key(namespace, key) for key in keys)
        stale = options is not None and options.stale
        values = await self._caller().call(
            KvMget(namespace, encoded), timeout_ms=timeout_ms, stale=stale
        )
        return [
            MGetEntry(decode_key(entry.key), entry.value, entry.version, entry.found)
            for entry in cast(Values, values).entries
        ]

    async def scan(
        self,
        prefix: str | bytes = "",
        options: ScanOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> ScanResult:
        """One page of the names that begin with a prefix, in byte order.

        A page may hold fewer names than `limit` before the last one. Keys written or removed
        between two pages may or may not show; every other key shows exactly once.

        Example:
            page = await client.kv.scan("user:")
            names = page.names
            while page.cursor is not None:
                page = await client.kv.scan("user:", ScanOptions(cursor=page.cursor))
                names += page.names
        """
        given = options_of(options, ScanOptions)
        if not 1 <= given.limit <= V2_SCAN_LIMIT_MAX:
            raise ValidationError(f"scan limit of {given.limit}: 1 to {V2_SCAN_LIMIT_MAX}")
        namespace = self._namespace(given.namespace)
        body = KvScan(
            namespace,
            encode_prefix(namespace, prefix),
            min(given.limit, V1_SCAN_LIMIT_MAX),
            given.cursor or b"",
            keys_only=True,
        )
        page = cast(Page, await self._caller().call(body, timeout_ms=timeout_ms, stale=given.stale))
        return ScanResult([decode_key(entry.key) for entry in page.entries], page.cursor)

    async def incr(
        self,
        key: str | bytes,
        options: KVIncrOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> IncrResult:
        """Adds to a counter, which begins at 0, and returns the new value.

        Raises BadRequestError when the key holds something else, or the sum leaves 64 bits.

        Example:
            print((await client.kv.incr("visits")).value)  # 1
            print((await client.kv.incr("visits", KVIncrOptions(delta=5))).value)  # 6
        """
        given = options_of(options, KVIncrOptions)
        namespace = self._namespace(given.namespace)
        encoded = encode_key(namespace, key)
        delta = delta_of(given.delta)
        caller = self._caller()
        counter = await caller.call(
            KvIncr(namespace, encoded, delta),
            partition=caller.partition_of(namespace, encoded),
            is_write=True,
            timeout_ms=timeout_ms,
        )
        version, value = cast(Counter, counter)
        return IncrResult(value or 0, version or 0)

    async def expire(
        self,
        key: str | bytes,
        ttl_ms: int,
        options: KVExpireOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> None:
        """Lets a key expire after `ttl_ms` from now; 0 clears its TTL. The version stays.

        Raises NotFoundError when the key does not exist, ConflictError as `put` does.

        Example:
            await client.kv.put("session:9", b"token")
            await client.kv.expire("session:9", 60_000)
        """
        ttl_of(ttl_ms)
        given = options_of(options, KVExpireOptions)
        namespace = self._namespace(given.namespace)
        encoded = encode_key(namespace, key)
        caller = self._caller()
        await caller.call(
            KvExpire(namespace, encoded, ttl_ms, cas_of(given.cas_version)),
            partition=caller.partition_of(namespace, encoded),
            is_write=True,
            timeout_ms=timeout_ms,
        )

    async def touch(
        self,
        key: str | bytes,
        ttl_ms: int,
        options: KVExpireOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> None:
        """Lets a key live for `ttl_ms` from now. `expire`, for a time that is not 0.

        Example:
            await client.kv.put("session:9", b"token", PutOptions(ttl_ms=60_000))
            await client.kv.touch("session:9", 60_000)
        """
        if ttl_ms == 0:
            raise ValidationError("ttl_ms of 0: use persist to clear a TTL")
        await self.expire(key, ttl_ms, options, timeout_ms=timeout_ms)

    async def persist(
        self,
        key: str | bytes,
        options: KVExpireOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> None:
        """Clears the TTL of a key: it lives until it is deleted. Raises as `expire` does.

        Example:
            await client.kv.put("session:9", b"token", PutOptions(ttl_ms=60_000))
            await client.kv.persist("session:9")
        """
        await self.expire(key, 0, options, timeout_ms=timeout_ms)

    async def exists(
        self,
        key: str | bytes,
        options: KVExistsOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> bool:
        """Whether a key exists, without reading its value.

        Example:
            print(await client.kv.exists("user:7"))  # False
        """
        namespace = self._namespace(options_of(options, KVExistsOptions).namespace)
        stale = options is not None and options.stale
        encoded = encode_key(namespace, key)
        caller = self._caller()
        answer = await caller.call(
            KvExists(namespace, encoded),
            partition=None if stale else caller.partition_of(namespace, encoded),
            timeout_ms=timeout_ms,
            stale=stale,
        )
        return cast(Exists, answer).exists
