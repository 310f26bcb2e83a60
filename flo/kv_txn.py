"""Transactions: changes of keys that belong together, made all at once or not at all.

A transaction is begun with a routing key, and takes keys that live where that one does: give them
the same tag in braces, as `{order:7}lines` and `{order:7}total`, or the same first two segments, as
`order:7:lines` and `order:7:total`. It holds its changes back until it is committed; its own reads
see them. Conditions are tested when they are given, and once more at the commit. It is forgotten
after a minute of silence, and when its partition gets another leader.
"""

from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import NoReturn, TypeVar, cast

from flo._caller import Caller
from flo._checks import options_of
from flo._kv_forms import as_bytes, cas_of, delta_of, put_with, ttl_of
from flo._names import encode_key
from flo.exceptions import (
    FloError,
    NoSuchTransactionError,
    NotFoundError,
    ServerError,
    TxnFinishedError,
    TxnUnsupportedOpError,
    ValidationError,
)
from flo.types import (
    DeleteOptions,
    GetResult,
    KVBeginResult,
    KVCommitResult,
    KVExpireOptions,
    PutOptions,
    PutResult,
)
from flo.wire import messages as wire
from flo.wire.kv_messages import TxnCommit, TxnCommitted, TxnRollback
from flo.wire.messages import Body, Result

_O = TypeVar("_O", PutOptions, DeleteOptions, KVExpireOptions)


class Transaction:
    """An open transaction, from `client.kv.transaction`, `client.kv.begin` or `client.kv.resume`.

    As a context manager itself, as `begin` and `resume` give it, it rolls back at the end of its
    block unless `commit` was called.

    Example:
        async with client.kv.transaction("{order:7}") as txn:
            await txn.put("{order:7}state", b"paid")
            await txn.incr("{order:7}payments")
    """

    def __init__(
        self,
        caller: Callable[[], Caller],
        namespace: bytes,
        partition: int,
        begun: KVBeginResult,
        *,
        is_resumed: bool = False,
    ) -> None:
        self._caller = caller
        self._namespace = namespace
        self._partition = partition
        self._id = begun.txn_id
        self._pinned_hash = begun.pinned_hash
        self._is_resumed = is_resumed
        self._ended = False
        self._commit_asked = False

    @property
    def id(self) -> int:
        """The number under which any connection can use it."""
        return self._id

    @property
    def pinned_hash(self) -> int:
        """A hash of the routing key it was begun with; 0 when it was found by its id."""
        return self._pinned_hash

    async def put(
        self,
        key: str | bytes,
        value: bytes | bytearray | memoryview,
        options: PutOptions | None = None,
    ) -> PutResult:
        """Stores a value at the commit. The version is not known before, and 0 here.

        Raises ConflictError when a condition does not hold now; CrossShardError for a key of
        another partition.

        Example:
            async with client.kv.transaction("{a}") as txn:
                await txn.put("{a}1", b"one")
        """
        body = put_with(
            self._namespace,
            self._key(key),
            as_bytes(value),
            self._here(options_of(options, PutOptions)),
        )
        await self._write(body._replace(txn=self._id))
        return PutResult(0)

    async def get(self, key: str | bytes) -> GetResult | None:
        """Reads a value: what the transaction has stored itself, with version 0, or the present.

        Example:
            async with client.kv.transaction("{a}") as txn:
                found = await txn.get("{a}1")
        """
        body = wire.KvGet(self._namespace, self._key(key), txn=self._id)
        try:
            version, value = cast(wire.Value, await self._read(body))
        except NoSuchTransactionError:
            raise
        except NotFoundError:
            return None
        return GetResult(value, version)

    async def delete(self, key: str | bytes, options: DeleteOptions | None = None) -> None:
        """Removes a key at the commit.

        Example:
            async with client.kv.transaction("{a}") as txn:
                await txn.delete("{a}1")
        """
        given = self._here(options_of(options, DeleteOptions))
        encoded = self._key(key)
        await self._write(
            wire.KvDelete(self._namespace, encoded, cas_of(given.cas_version), txn=self._id)
        )

    async def incr(self, key: str | bytes, delta: int = 1) -> None:
        """Adds to a counter at the commit.

        Example:
            async with client.kv.transaction("{a}") as txn:
                await txn.incr("{a}visits")
        """
        await self._write(
            wire.KvIncr(self._namespace, self._key(key), delta_of(delta), txn=self._id)
        )

    async def expire(
        self, key: str | bytes, ttl_ms: int, options: KVExpireOptions | None = None
    ) -> None:
        """Lets a key expire `ttl_ms` after the commit; 0 clears its TTL.

        Raises NotFoundError when the key does not exist.

        Example:
            async with client.kv.transaction("{a}") as txn:
                await txn.put("{a}1", b"one")
                await txn.expire("{a}1", 60_000)
        """
        given = self._here(options_of(options, KVExpireOptions))
        encoded = self._key(key)
        cas = cas_of(given.cas_version)
        await self._write(
            wire.KvExpire(self._namespace, encoded, ttl_of(ttl_ms), cas, txn=self._id)
        )

    async def exists(self, key: str | bytes) -> bool:
        """Whether a key exists, as the transaction sees it.

        Example:
            async with client.kv.transaction("{a}") as txn:
                print(await txn.exists("{a}1"))  # False
        """
        body = wire.KvExists(self._namespace, self._key(key), txn=self._id)
        return cast(wire.Exists, await self._read(body)).exists

    async def scan(self, *_args: object, **_options: object) -> None:
        """Raises TxnUnsupportedOpError: a transaction scans nothing."""
        self._refuse("scan")

    async def mget(self, *_args: object, **_options: object) -> None:
        """Raises TxnUnsupportedOpError: get the keys one by one."""
        self._refuse("mget")

    async def json_get(self, *_args: object, **_options: object) -> None:
        """Raises TxnUnsupportedOpError: get the document, and decode it."""
        self._refuse("json_get")

    async def json_set(self, *_args: object, **_options: object) -> None:
        """Raises TxnUnsupportedOpError: put the document."""
        self._refuse("json_set")

    async def json_del(self, *_args: object, **_options: object) -> None:
        """Raises TxnUnsupportedOpError: put the document."""
        self._refuse("json_del")

    async def history(self, *_args: object, **_options: object) -> None:
        """Raises TxnUnsupportedOpError: ask outside the transaction."""
        self._refuse("history")

    async def commit(self) -> KVCommitResult:
        """Makes all changes at once, under one version. The transaction has ended then.

        Raises ConflictError when a condition does not hold any more, and nothing is changed;
        NoSuchTransactionError when it was forgotten. After an error whose `outcome` is "unknown" it
        may be committed again: it is done once.

        Example:
            txn = await client.kv.begin("{a}")
            await txn.put("{a}1", b"one")
            print((await txn.commit()).op_count)  # 1
        """
        self._check_open()
        self._commit_asked = True
        try:
            result = await self._write(TxnCommit(self._namespace, None, self._id))
        except FloError as error:
            # What the server refused for good; a commit that did not get there may be made again.
            self._ended = isinstance(error, ServerError) and not (
                error.retryable or error.outcome == "unknown"
            )
            raise
        self._ended = True
        commit_index, op_count = cast(TxnCommitted, result)
        return KVCommitResult(commit_index, op_count)

    async def rollback(self) -> None:
        """Forgets all changes. Does nothing when this object has ended the transaction already.

        Raises NoSuchTransactionError for one of `resume` that is not open: it may be committed.

        Example:
            txn = await client.kv.begin("{a}")
            await txn.rollback()
        """
        if self._ended:
            return
        self._ended = True
        try:
            await self._write(TxnRollback(self._namespace, None, self._id))
        except NoSuchTransactionError:
            # One that was begun here was forgotten already, which is just as well.
            if self._is_resumed:
                raise

    async def __aenter__(self) -> "Transaction":
        self._check_open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A commit that got no answer may be done, or be said again after the block.
        if self._commit_asked:
            return
        # It will be forgotten anyway; what the program was doing says more.
        with suppress(FloError):
            await self.rollback()

    def _key(self, key: str | bytes) -> bytes:
        self._check_open()
        return encode_key(self._namespace, key)

    def _here(self, options: _O) -> _O:
        if options.namespace is not None and options.namespace.encode() != self._namespace:
            raise ValidationError(
                f"namespace {options.namespace!r}: a transaction has one namespace,"
                f" {self._namespace.decode()!r}"
            )
        return options

    def _check_open(self) -> None:
        if self._ended:
            raise TxnFinishedError(
                "the transaction was committed or rolled back: begin another one"
            )

    def _refuse(self, operation: str) -> NoReturn:
        self._check_open()
        raise TxnUnsupportedOpError(f"{operation} cannot be part of a transaction")

    async def _write(self, body: Body) -> Result:
        return await self._caller().call(body, partition=self._partition, is_write=True)

    async def _read(self, body: Body) -> Result:
        return await self._caller().call(body, partition=self._partition)
