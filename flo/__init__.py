"""Flo: key-value on a replicated cluster. This is the client.

Example:
    import asyncio
    from flo import FloClient

    async def main() -> None:
        async with FloClient("localhost:9000") as client:
            await client.kv.put("greeting", b"hello")
            found = await client.kv.get("greeting")
            print(found.value)  # b'hello'

    asyncio.run(main())

`flo.sync` has the same client for programs without an event loop.
"""

from flo._health import ClientHealth, NodeHealth
from flo._observe import (
    CallFinished,
    CallRetried,
    ClientEvent,
    ClientObserver,
    Connected,
    ConnectFailed,
    Disconnected,
)
from flo._version import __version__
from flo.client import FloClient
from flo.exceptions import (
    BadRequestError,
    BlockTooLongError,
    ConflictError,
    ConnectionFailedError,
    CrossShardError,
    FloError,
    GenericServerError,
    IncompleteResponseError,
    InternalServerError,
    InvalidChecksumError,
    InvalidEndpointError,
    InvalidMagicError,
    KeyTooLargeError,
    NamespaceTooLargeError,
    NonRetryableError,
    NoSuchTransactionError,
    NotConnectedError,
    NotFoundError,
    OverloadedError,
    PayloadTooLargeError,
    ProtocolError,
    RateLimitedError,
    RequestTimeoutError,
    ServerError,
    TableMismatchError,
    TransactionTooLargeError,
    UnauthorizedError,
    UnavailableError,
    UnexpectedEofError,
    ValidationError,
    ValueTooLargeError,
    WrongLoopError,
    is_connection_error,
)
from flo.retry import DEFAULT_RETRY_POLICY, RetryPolicy
from flo.types import (
    Condition,
    DeleteOptions,
    GetOptions,
    GetResult,
    IncrResult,
    KVExistsOptions,
    KVExpireOptions,
    KVIncrOptions,
    KVMGetOptions,
    MGetEntry,
    OpCode,
    PutOptions,
    PutResult,
    Ran,
    Reason,
    ScanOptions,
    ScanResult,
    StatusCode,
    WaitFor,
)

__all__ = [
    "DEFAULT_RETRY_POLICY",
    "BadRequestError",
    "BlockTooLongError",
    "CallFinished",
    "CallRetried",
    "ClientEvent",
    "ClientHealth",
    "ClientObserver",
    "Condition",
    "ConflictError",
    "ConnectFailed",
    "Connected",
    "ConnectionFailedError",
    "CrossShardError",
    "DeleteOptions",
    "Disconnected",
    "FloClient",
    "FloError",
    "GenericServerError",
    "GetOptions",
    "GetResult",
    "IncompleteResponseError",
    "IncrResult",
    "InternalServerError",
    "InvalidChecksumError",
    "InvalidEndpointError",
    "InvalidMagicError",
    "KVExistsOptions",
    "KVExpireOptions",
    "KVIncrOptions",
    "KVMGetOptions",
    "KeyTooLargeError",
    "MGetEntry",
    "NamespaceTooLargeError",
    "NoSuchTransactionError",
    "NodeHealth",
    "NonRetryableError",
    "NotConnectedError",
    "NotFoundError",
    "OpCode",
    "OverloadedError",
    "PayloadTooLargeError",
    "ProtocolError",
    "PutOptions",
    "PutResult",
    "Ran",
    "RateLimitedError",
    "Reason",
    "RequestTimeoutError",
    "RetryPolicy",
    "ScanOptions",
    "ScanResult",
    "ServerError",
    "StatusCode",
    "TableMismatchError",
    "TransactionTooLargeError",
    "UnauthorizedError",
    "UnavailableError",
    "UnexpectedEofError",
    "ValidationError",
    "ValueTooLargeError",
    "WaitFor",
    "WrongLoopError",
    "__version__",
    "is_connection_error",
]
