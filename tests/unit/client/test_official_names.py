"""Programs written for the official Python client find here what they use of client, KV,
transactions, queues and streams.

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
    StreamID,
    TableMismatchError,
    UnavailableError,
    WaitFor,
)
from flo.retry import is_refused_unrun
from flo.wire.registry import OPS
from tests.unit.client.fake_node import FakeCluster

if TYPE_CHECKING:
    from collections.abc import Callable

# Of `from flo import ...`, without actions, workflows and processing.
NAMES = [
    "AckOptions",
    "BadRequestError",
    "BlockTooLongError",
    "Condition",
    "ConflictError",
    "ConnectionFailedError",
    "DEFAULT_RETRY_POLICY",
    "DeleteOptions",
    "DequeueOptions",
    "DequeueResult",
    "DlqListOptions",
    "DlqRequeueOptions",
    "EnqueueOptions",
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
    "KVBeginResult",
    "KVCommitResult",
    "KVExistsOptions",
    "KVExpireOptions",
    "KVIncrOptions",
    "KVJsonOptions",
    "KVMGetOptions",
    "KeyTooLargeError",
    "MGetEntry",
    "Message",
    "NackOptions",
    "NamespaceTooLargeError",
    "NonRetryableError",
    "NotConnectedError",
    "NotFoundError",
    "OpCode",
    "OverloadedError",
    "PayloadTooLargeError",
    "PeekOptions",
    "PendingEntry",
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
    "StorageTier",
    "StreamAppendOptions",
    "StreamAppendResult",
    "StreamClaimResult",
    "StreamContext",
    "StreamGroupAckOptions",
    "StreamGroupJoinOptions",
    "StreamGroupNackOptions",
    "StreamGroupReadOptions",
    "StreamID",
    "StreamInfo",
    "StreamInfoOptions",
    "StreamReadOptions",
    "StreamReadResult",
    "StreamRecord",
    "StreamRecordHandler",
    "StreamTrimOptions",
    "StreamTrimResult",
    "StreamWorker",
    "StreamWorkerOptions",
    "TableMismatchError",
    "Transaction",
    "TxnFinishedError",
    "TxnUnsupportedOpError",
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
    "flo.kv_txn": ["Transaction", "TxnFinishedError", "TxnUnsupportedOpError"],
    "flo.queue": ["QueueOperations"],
    "flo.streams": ["StreamOperations"],
    "flo.worker": ["StreamContext", "StreamRecordHandler", "StreamWorker", "StreamWorkerOptions"],
    "flo.retry": ["DEFAULT_RETRY_POLICY", "RetryPolicy", "is_refused_unrun"],
    "flo.exceptions": [
        name for name in NAMES if name.endswith("Error") and not name.startswith("Txn")
    ],
    "flo.types": [
        "AckOptions",
        "Condition",
        "DeleteOptions",
        "DequeueOptions",
        "DequeueResult",
        "DlqListOptions",
        "DlqRequeueOptions",
        "EnqueueOptions",
        "GetJsonResult",
        "GetOptions",
        "GetResult",
        "HEADER_SIZE",
        "HistoryOptions",
        "IncrResult",
        "KVBeginResult",
        "KVCommitResult",
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
        "Message",
        "NackOptions",
        "OpCode",
        "PeekOptions",
        "PendingEntry",
        "PutOptions",
        "PutResult",
        "Ran",
        "Reason",
        "ScanOptions",
        "ScanResult",
        "StatusCode",
        "StorageTier",
        "StreamAppendOptions",
        "StreamAppendResult",
        "StreamClaimResult",
        "StreamGroupAckOptions",
        "StreamGroupJoinOptions",
        "StreamGroupNackOptions",
        "StreamGroupReadOptions",
        "StreamID",
        "StreamInfo",
        "StreamInfoOptions",
        "StreamReadOptions",
        "StreamReadResult",
        "StreamRecord",
        "StreamTrimOptions",
        "StreamTrimResult",
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
    **{
        name: {"stale": False}
        for name in ("GetOptions", "KVExistsOptions", "KVMGetOptions", "ScanOptions")
    },
    "GetJsonResult": {"text": b""},
    "EnqueueOptions": {"delay_ms": 0, "dedup_key": None},
    "DequeueOptions": {"visibility_ms": None},
    "NackOptions": {"to_dlq": False},
    "DlqListOptions": {"limit": 100},
    "StreamRecord": {"partition": 0},
    "StreamAppendOptions": {"partition": None, "partition_key": None},
    "StreamTrimOptions": {"max_bytes": None},
    "StreamGroupNackOptions": {"delay_ms": 0},
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
    "KVBeginResult": {"txn_id": ..., "pinned_hash": ...},
    "KVCommitResult": {"commit_index": ..., "op_count": ...},
    "EnqueueOptions": {"namespace": None, "priority": 0},
    "DequeueOptions": {"namespace": None, "block_ms": None},
    "AckOptions": {"namespace": None},
    "NackOptions": {"namespace": None},
    "PeekOptions": {"namespace": None},
    "DlqListOptions": {"namespace": None},
    "DlqRequeueOptions": {"namespace": None},
    "Message": {
        "seq": ...,
        "payload": ...,
        "enqueued_at_ms": 0,
        "delivery_count": 0,
        "priority": 0,
    },
    "DequeueResult": {"messages": ...},
    "StreamID": {"timestamp_ms": 0, "sequence": 0},
    "StreamRecord": {
        "id": StreamID(),
        "tier": flo.StorageTier.HOT,
        "stream": "",
        "payload": b"",
        "headers": None,
    },
    "StreamAppendResult": {"id": StreamID()},
    "StreamReadResult": {"records": ...},
    "PendingEntry": {"id": StreamID(), "consumer": "", "delivery_count": 0},
    "StreamClaimResult": {"records": ..., "next_cursor": StreamID(), "done": False},
    "StreamInfo": {
        "count": ...,
        "bytes_size": ...,
        "first_id": StreamID(),
        "last_id": StreamID(),
        "partition_count": 1,
    },
    "StreamTrimResult": {"removed": ..., "first_seq": ...},
    "StreamAppendOptions": {"namespace": None, "headers": None},
    "StreamReadOptions": {
        "namespace": None,
        "start": None,
        "end": None,
        "tail": False,
        "partition": None,
        "count": None,
        "block_ms": None,
    },
    "StreamTrimOptions": {
        "namespace": None,
        "before": None,
        "max_len": None,
        "max_age_seconds": None,
        "dry_run": False,
    },
    "StreamInfoOptions": {"namespace": None},
    "StreamGroupJoinOptions": {"namespace": None},
    "StreamGroupReadOptions": {"namespace": None, "count": None, "block_ms": None},
    "StreamGroupAckOptions": {"namespace": None, "consumer": ""},
    "StreamGroupNackOptions": {"namespace": None, "consumer": ""},
    "StreamWorkerOptions": {
        "stream": ...,
        "group": "",
        "consumer": "",
        "worker_id": "",
        "concurrency": 10,
        "batch_size": 10,
        "block_ms": 30_000,
        "message_timeout": 300.0,
        "redeliver_pending_on_reconnect": True,
        "claim_min_idle_ms": 0,
    },
    "StreamContext": {
        "record": ...,
        "namespace": ...,
        "stream": ...,
        "group": ...,
        "consumer": ...,
    },
}

# Positional parameters of the operations.
OPERATIONS = {
    "kv": {
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
        "begin": ["routing_key"],
        "json_del": ["key", "path", "options"],
    },
    "queue": {
        "enqueue": ["queue", "payload", "options"],
        "dequeue": ["queue", "count", "options"],
        "ack": ["queue", "seqs", "options"],
        "nack": ["queue", "seqs", "options"],
        "dlq_list": ["queue", "options"],
        "dlq_requeue": ["queue", "seqs", "options"],
        "peek": ["queue", "count", "options"],
    },
    "stream": {
        "append": ["stream", "payload", "options"],
        "read": ["stream", "options"],
        "info": ["stream", "options"],
        "trim": ["stream", "options"],
        "group_join": ["stream", "group", "consumer", "options"],
        "group_leave": ["stream", "group", "consumer", "options"],
        "group_read": ["stream", "group", "consumer", "options"],
        "group_pending": ["stream", "group", "consumer", "options"],
        "group_claim": [
            "stream",
            "group",
            "consumer",
            "min_idle_ms",
            "start_id",
            "count",
            "options",
        ],
        "group_ack": ["stream", "group", "ids", "options"],
        "group_nack": ["stream", "group", "ids", "options"],
    },
}


TRANSACTION = {
    "put": ["key", "value", "options"],
    "get": ["key"],
    "delete": ["key", "options"],
    "incr": ["key", "delta"],
    "expire": ["key", "ttl_ms", "options"],
    "exists": ["key"],
    "commit": [],
    "rollback": [],
}


def positional_of(function: "Callable[..., object]") -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]


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
        assert vars(flo.Message(1, b"x"))["payload"] == b"x"

    def test_objects_may_be_changed(self) -> None:
        message = flo.Message(1, b"x")
        message.payload = b"y"
        record = flo.StreamRecord(payload=b"x")
        record.headers = {"a": "b"}
        assert dataclasses.asdict(record)["headers"] == {"a": "b"}

    @pytest.mark.parametrize(
        ("family", "name"),
        [(family, name) for family, operations in OPERATIONS.items() for name in operations],
    )
    def test_of_parameters(self, family: str, name: str) -> None:
        operation = getattr(getattr(FloClient("h:1"), family), name)
        assert positional_of(operation) == OPERATIONS[family][name]

    @pytest.mark.parametrize("name", TRANSACTION)
    def test_of_parameters_in_a_transaction(self, name: str) -> None:
        assert positional_of(getattr(flo.Transaction, name))[1:] == TRANSACTION[name]

    @pytest.mark.parametrize("name", ["scan", "mget", "json_get", "json_set", "json_del"])
    async def test_what_a_transaction_refuses(self, name: str) -> None:
        begun = flo.KVBeginResult(txn_id=1, pinned_hash=2)
        txn = flo.Transaction(lambda: pytest.fail("nothing is sent"), b"default", 0, begun)
        assert (txn.id, txn.pinned_hash) == (1, 2)
        with pytest.raises(flo.TxnUnsupportedOpError):
            await getattr(txn, name)("key", "$", option=1)

    def test_of_parameters_of_a_worker(self) -> None:
        parameters = inspect.signature(FloClient("h:1").new_stream_worker).parameters
        assert {name: each.default for name, each in parameters.items()} == {
            **dict.fromkeys(["stream", "group", "handler"], inspect.Parameter.empty),
            **dict.fromkeys(["consumer", "worker_id"]),
            "concurrency": 10,
            "batch_size": 10,
            "block_ms": 30_000,
            "message_timeout": 300.0,
            "redeliver_pending_on_reconnect": True,
            "claim_min_idle_ms": 0,
        }
        own = inspect.signature(flo.StreamWorker).parameters
        assert list(own)[:2] == ["parent_client", "handler"]
        assert set(own) - {"parent_client"} == set(parameters)

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


class TestStreamID:
    def test_is_equal_to_its_like_alone(self) -> None:
        place = StreamID(timestamp_ms=7, sequence=2)
        assert place == StreamID(7, 2)
        assert place != StreamID(7, 3)
        assert place.__eq__((7, 2)) is NotImplemented
        assert repr(place) == "StreamID(timestamp_ms=7, sequence=2)"

    def test_has_an_order_and_a_hash(self) -> None:
        places = [StreamID(2), StreamID(1, 9), StreamID(1, 10)]
        assert sorted(places) == [StreamID(1, 9), StreamID(1, 10), StreamID(2)]
        assert len({StreamID(1), StreamID(1), StreamID(2)}) == 2

    def test_survives_as_bytes_in_its_order(self) -> None:
        places = [StreamID(), StreamID(1, 1 << 40), StreamID(255, 3), StreamID(256, 2)]
        encoded = [place.to_bytes() for place in places]
        assert [StreamID.from_bytes(each) for each in encoded] == places
        assert sorted(encoded) == encoded
        assert StreamID(1, 2).to_bytes() == bytes(7) + b"\x01" + bytes(7) + b"\x02"
        with pytest.raises(ValueError, match="16 bytes"):
            StreamID.from_bytes(b"short")

    def test_the_next_one(self) -> None:
        assert StreamID(1, 2).next() == StreamID(1, 3)
        assert StreamID(1, (1 << 64) - 1).next() == StreamID(2, 0)

    def test_as_text(self) -> None:
        assert StreamID.parse(str(StreamID(17, 3))) == StreamID(17, 3)
        assert StreamID.parse("17") == StreamID(17)
        with pytest.raises(ValueError, match="no stream id"):
            StreamID.parse("last")


def test_a_context_of_a_worker() -> None:
    record = flo.StreamRecord(StreamID(1), payload=b'{"real": 1, "imag": 2}')
    context = flo.StreamContext(record, "default", "events", "group", "me")
    assert context.stream_id == StreamID(1)
    assert context.payload == record.payload
    assert context.headers == {}
    assert context.json() == {"real": 1, "imag": 2}
    assert context.into(complex) == 1 + 2j
    record.payload = b"[1, 2]"
    assert context.into(list) == [1, 2]
    record.payload, record.headers = b"", {"kind": "empty"}
    assert context.headers == {"kind": "empty"}
    with pytest.raises(ValueError, match="empty"):
        context.json()
