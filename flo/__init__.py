"""Flo: key-value, queues and streams on a replicated cluster. This is the client.

import asyncio
from flo import FloClient

async def main() -> None:
    async with FloClient("localhost:9000") as client:
        await client.kv.put("greeting", b"hello")
        print(await client.kv.get("greeting"))

asyncio.run(main())
"""

from flo._retry import DEFAULT_RETRY_POLICY, RetryPolicy
from flo._version import __version__
from flo.client import FloClient
from flo.exceptions import (
    BadRequestError,
    BlockTooLongError,
    ConflictError,
    ConnectionFailedError,
    FloError,
    GenericServerError,
    IncompleteResponseError,
    InternalServerError,
    InvalidChecksumError,
    InvalidEndpointError,
    InvalidMagicError,
    KeyTooLargeError,
    NamespaceTooLargeError,
    NotConnectedError,
    NotFoundError,
    OverloadedError,
    PayloadTooLargeError,
    ProtocolError,
    RateLimitedError,
    RequestTimeoutError,
    ServerError,
    TableMismatchError,
    UnauthorizedError,
    UnavailableError,
    UnexpectedEofError,
    ValidationError,
    ValueTooLargeError,
    is_connection_error,
)
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
    PutOptions,
    PutResult,
    ScanOptions,
    ScanResult,
    StatusCode,
    WaitFor,
)
from flo.wire.status import Ran, Reason

__all__ = [
    "DEFAULT_RETRY_POLICY",
    "BadRequestError",
    "BlockTooLongError",
    "Condition",
    "ConflictError",
    "ConnectionFailedError",
    "DeleteOptions",
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
    "NotConnectedError",
    "NotFoundError",
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
    "UnauthorizedError",
    "UnavailableError",
    "UnexpectedEofError",
    "ValidationError",
    "ValueTooLargeError",
    "WaitFor",
    "__version__",
    "is_connection_error",
]
