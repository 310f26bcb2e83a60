"""Programs written for the official Python client find here what they use of client and KV.

The lists were made from flo-python 0.1.2 and are pinned: whatever stands here is never taken away.
"""

import asyncio
import copy
import dataclasses
import importlib
import inspect
import math
import pickle
from typing import TYPE_CHECKING

import pytest

import flo
from flo import (
    DEFAULT_RETRY_POLICY,
    Condition,
    FloClient,
    GetOptions,
    InvalidEndpointError,
    NotFoundError,
    OverloadedError,
    PutOptions,
    Ran,
    Reason,
    RetryPolicy,
    ServerError,
    StatusCode,
    TableMismatchError,
    UnavailableError,
    WaitFor,
)
from flo.retry import is_refused_unrun
from flo.wire.registry import OPS
from tests.unit.client.fake_node import FakeCluster

if TYPE_CHECKING:
    from collections.abc import Callable

# Of `from flo import ...`, without queues, streams, transactions and workers.
NAMES = [
    "BadRequestError",
    "BlockTooLongError",
    "Condition",
    "ConflictError",
    "ConnectionFailedError",
    "DEFAULT_RETRY_POLICY",
    "DeleteOptions",
    "FloClient",
    "FloError",
    "GenericServerError",
    "GetJsonResult",
    "GetOptions",
    "GetResult",
    "HistoryOptions",
    "IncompleteResponseError",
    "IncrResult",
    "InternalServerError",
    "InvalidChecksumError",
    "InvalidEndpointError",
    "InvalidMagicError",
    "KVExistsOptions",
    "KVExpireOptions",
    "KVIncrOptions",
    "KVJsonOptions",
    "KVMGetOptions",
    "KeyTooLargeError",
    "MGetEntry",
    "NamespaceTooLargeError",
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
    "UnauthorizedError",
    "UnavailableError",
    "UnexpectedEofError",
    "ValidationError",
    "ValueTooLargeError",
    "VersionEntry",
    "WaitFor",
    "is_connection_error",
]

IN_MODULES = {
    "flo.client": ["FloClient"],
    "flo.kv": ["KVOperations"],
    "flo.retry": ["DEFAULT_RETRY_POLICY", "RetryPolicy", "is_refused_unrun"],
    "flo.exceptions": [name for name in NAMES if name.endswith("Error")],
    "flo.types": [
        "Condition",
        "DeleteOptions",
        "GetJsonResult",
        "GetOptions",
        "GetResult",
        "HEADER_SIZE",
        "HistoryOptions",
        "IncrResult",
        "KVExistsOptions",
        "KVExpireOptions",
        "KVIncrOptions",
        "KVJsonOptions",
        "KVMGetOptions",
        "MAGIC",
        "MAX_BLOCK_MS",
        "MAX_KEY_SIZE",
        "MAX_KV_VALUE_SIZE",
        "MAX_NAMESPACE_SIZE",
        "MAX_VALUE_SIZE",
        "MAX_WAIT_MS",
        "MGetEntry",
        "OpCode",
        "PutOptions",
        "PutResult",
        "Ran",
        "Reason",
        "ScanOptions",
        "ScanResult",
        "StatusCode",
        "TABLE_HASH",
        "VERSION",
        "VersionEntry",
        "WaitFor",
    ],
}

# Each class with those that a handler may catch it as.
CAUGHT_AS = {
    "NonRetryableError": "FloError",
    "NotConnectedError": "FloError",
    "ConnectionFailedError": "FloError",
    "InvalidEndpointError": "FloError",
    "UnexpectedEofError": "FloError",
    "RequestTimeoutError": "FloError TimeoutError OSError",
    "ProtocolError": "FloError",
    "InvalidMagicError": "ProtocolError",
    "TableMismatchError": "ProtocolError",
    "InvalidChecksumError": "ProtocolError",
    "PayloadTooLargeError": "ProtocolError",
    "IncompleteResponseError": "ProtocolError",
    "ValidationError": "FloError",
    "NamespaceTooLargeError": "ValidationError",
    "KeyTooLargeError": "ValidationError",
    "ValueTooLargeError": "ValidationError",
    "BlockTooLongError": "ValidationError",
    "ServerError": "FloError",
    "NotFoundError": "ServerError",
    "BadRequestError": "ServerError",
    "ConflictError": "ServerError",
    "UnauthorizedError": "ServerError",
    "OverloadedError": "ServerError",
    "UnavailableError": "ServerError",
    "RateLimitedError": "ServerError",
    "InternalServerError": "ServerError",
    "GenericServerError": "ServerError",
}

# Made with a message, or without one, and what status that stands for.
SERVER_ERRORS = {
    "NotFoundError": (StatusCode.NOT_FOUND, "Not found"),
    "BadRequestError": (StatusCode.BAD_REQUEST, "Bad request"),
    "ConflictError": (StatusCode.CONFLICT, "Conflict"),
    "UnauthorizedError": (StatusCode.UNAUTHORIZED, "Unauthorized"),
    "OverloadedError": (StatusCode.OVERLOADED, "Server overloaded"),
    "RateLimitedError": (StatusCode.RATE_LIMITED, "Request rate limit exceeded"),
    "UnavailableError": (StatusCode.UNAVAILABLE, None),
    "InternalServerError": (StatusCode.INTERNAL_ERROR, "Internal server error"),
    "GenericServerError": (StatusCode.ERROR_GENERIC, "Generic error"),
}

# Fields of ours, after all of the official ones.
OWN_FIELDS: dict[str, dict[str, object]] = {
    name: {"stale": False}
    for name in ("GetOptions", "KVExistsOptions", "KVMGetOptions", "ScanOptions")
}

# Fields in their order, since options may be given by position, with their defaults.
FIELDS: dict[str, dict[str, object]] = {
    "GetOptions": {
        "namespace": None,
        "wait_ms": 0,
        "wait_for": WaitFor.EXISTS,
        "routing_key": None,
    },
    "PutOptions": {
        "namespace": None,
        "ttl_ms": None,
        "condition": Condition.ALWAYS,
        "cas_version": None,
        "routing_key": None,
    },
    "DeleteOptions": {"namespace": None, "cas_version": None, "routing_key": None},
    "ScanOptions": {"namespace": None, "cursor": None, "limit": 1024},
    "KVIncrOptions": {"namespace": None, "delta": 1, "routing_key": None},
    "KVExpireOptions": {"namespace": None, "cas_version": None, "routing_key": None},
    "KVExistsOptions": {"namespace": None, "routing_key": None},
    "KVMGetOptions": {"namespace": None, "routing_key": None},
    "HistoryOptions": {"namespace": None, "limit": 10, "routing_key": None},
    "KVJsonOptions": {"namespace": None, "routing_key": None},
    "GetResult": {"value": ..., "version": ...},
    "GetJsonResult": {"value": ..., "version": ...},
    "VersionEntry": {"version": ..., "at_ms": ..., "value": ...},
    "PutResult": {"version": ...},
    "IncrResult": {"value": ..., "version": ...},
    "MGetEntry": {"key": ..., "value": ..., "version": ..., "found": ...},
    "ScanResult": {"names": ..., "cursor": ...},
}

# Positional parameters of the operations.
OPERATIONS = {
    "get": ["key", "options"],
    "put": ["key", "value", "options"],
    "delete": ["key", "options"],
    "mget": ["keys", "options"],
    "scan": ["prefix", "options"],
    "incr": ["key", "options"],
    "expire": ["key", "ttl_ms", "options"],
    "exists": ["key", "options"],
    "history": ["key", "options"],
    "json_get": ["key", "path", "options"],
    "json_set": ["key", "path", "json_value", "options"],
    "json_del": ["key", "path", "options"],
}


def error_class(name: str) -> type[BaseException]:
    found: object = (
        getattr(flo, name, None) or {"TimeoutError": TimeoutError, "OSError": OSError}[name]
    )
    assert isinstance(found, type)
    assert issubclass(found, BaseException)
    return found


class TestNames:
    @pytest.mark.parametrize("name", NAMES)
    def test_of_the_package(self, name: str) -> None:
        assert hasattr(flo, name)
        assert name in flo.__all__

    @pytest.mark.parametrize("module", IN_MODULES)
    def test_of_its_modules(self, module: str) -> None:
        there = vars(importlib.import_module(module))
        assert not [name for name in IN_MODULES[module] if name not in there]

    @pytest.mark.parametrize("name", FIELDS)
    def test_of_fields(self, name: str) -> None:
        kind: type[object] = getattr(flo, name)
        assert dataclasses.is_dataclass(kind)
        found = {
            each.name: ... if each.default is dataclasses.MISSING else each.default
            for each in dataclasses.fields(kind)
        }
        expected = {**FIELDS[name], **OWN_FIELDS.get(name, {})}
        assert list(found.items()) == list(expected.items())

    def test_objects_have_a_dict_of_their_fields(self) -> None:
        assert vars(GetOptions(wait_ms=5))["wait_ms"] == 5

    @pytest.mark.parametrize("name", OPERATIONS)
    def test_of_parameters(self, name: str) -> None:
        parameters = inspect.signature(getattr(FloClient("h:1").kv, name)).parameters.values()
        positional = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
        assert positional == OPERATIONS[name]

    def test_numbers_of_enumerations(self) -> None:
        assert [code.value for code in StatusCode] == list(range(13))
        assert [ran.name for ran in Ran] == ["NO", "YES", "UNKNOWN"]
        assert [reason.value for reason in Reason][:28] == list(range(1, 29))
        assert {code.value for code in flo.OpCode} == {
            code for code, op in OPS.items() if op.v2 is not None
        }


class TestClient:
    def test_constructor(self) -> None:
        client = FloClient(
            "flo://localhost:9000/ignored",
            namespace="shop",
            timeout_ms=5000,
            debug=False,
            retry=DEFAULT_RETRY_POLICY,
        )
        assert client.namespace == "shop"
        assert client.get_namespace(None) == "shop"
        assert client.get_namespace("other") == "other"
        assert client.get_namespace("") == ""
        assert not client.is_connected
        client.interrupt()

    @pytest.mark.parametrize("endpoint", ["flos://h:1", "http://h:1", "h", "h:x", "h:0", "h:65536"])
    def test_refuses_endpoints_as_the_other_does(self, endpoint: str) -> None:
        with pytest.raises(InvalidEndpointError):
            FloClient(endpoint)

    def test_tls_is_named_in_its_refusal(self) -> None:
        with pytest.raises(InvalidEndpointError, match="TLS"):
            FloClient("flos://h:1")

    async def test_connect_returns_the_client_and_may_be_repeated(self) -> None:
        async with FakeCluster() as cluster:
            client = FloClient(cluster.endpoints)
            assert await client.connect() is client
            await client.connect()
            await client.reconnect(timeout=5)
            await client.close()
            await client.close()
            await client.reconnect(timeout=5)
            assert client.is_connected
            await client.close()

    async def test_interrupt_ends_calls_and_reconnect_goes_on(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            await client.kv.put("key", b"1", PutOptions(None, None, Condition.IF_ABSENT))
            client.interrupt()
            assert not client.is_connected
            await client.reconnect()
            assert client.is_connected
            assert await client.kv.exists("key")


class TestErrors:
    @pytest.mark.parametrize("name", CAUGHT_AS)
    def test_are_caught_as_before(self, name: str) -> None:
        for base in CAUGHT_AS[name].split():
            assert issubclass(error_class(name), error_class(base))

    @pytest.mark.parametrize("name", SERVER_ERRORS)
    def test_are_made_as_before(self, name: str) -> None:
        status, message = SERVER_ERRORS[name]
        make: Callable[..., ServerError] = getattr(flo, name)
        silent, speaking = make(), make("why")
        assert (silent.status_code, str(speaking)) == (status, "why")
        assert str(silent) == (message or status.message())
        assert (silent.reason, silent.ran) == (Reason.UNCLASSIFIED, Ran.UNKNOWN)
        silent.reason, silent.ran = Reason.NOT_FOUND, Ran.NO

    def test_others_are_made_as_before(self) -> None:
        assert ServerError("why", StatusCode.GROUP_LOCKED).status_code is StatusCode.GROUP_LOCKED
        assert flo.GenericServerError("why", StatusCode(200)).status_code == 200
        assert flo.FloError("one", 2).args == ("one", 2)
        mismatch = TableMismatchError(3, 0xABC)
        assert (mismatch.server_version, mismatch.server_table) == (3, 0xABC)
        assert "upgrade" in str(mismatch)
        assert isinstance(flo.RequestTimeoutError(), asyncio.TimeoutError)

    def test_is_refused_unrun(self) -> None:
        assert is_refused_unrun(OverloadedError("full", ran=Ran.NO))
        assert not is_refused_unrun(UnavailableError())
        assert not is_refused_unrun(NotFoundError("x", ran=Ran.NO))
        assert not is_refused_unrun(ValueError())


class TestStatusCode:
    @pytest.mark.parametrize("status", list(StatusCode))
    def test_has_words(self, status: StatusCode) -> None:
        assert len(status.message()) > 1

    def test_unknown_ones_have_a_name_and_survive(self) -> None:
        status = StatusCode(200)
        assert (status.name, status.message(), int(status)) == (
            "UNKNOWN_200",
            "Unknown status 200",
            200,
        )
        for other in (pickle.loads(pickle.dumps(status)), copy.deepcopy(status)):
            assert (other, other.name) == (status, "UNKNOWN_200")
        for wrong in (-1, 256):
            with pytest.raises(ValueError, match="not a valid"):
                StatusCode(wrong)


@pytest.mark.parametrize(
    "given",
    [(), (1,), (0,), (-1, -1, -1), (math.nan, math.nan, math.nan), (2.7, 3, 1), (4, math.inf)],
)
def test_a_retry_policy_takes_odd_values(given: tuple[float, ...]) -> None:
    policy = RetryPolicy(*given)
    assert policy.max_attempts >= 1
    assert 0 <= policy.initial_backoff_ms <= policy.max_backoff_ms < math.inf
