"""Every request vector: read as its arguments say, and written back byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flo.wire import OPS, Reason, Rejected, Request, ServerConnection, encode_request
from flo.wire.frames import REQUEST_HEADER
from tests.unit.wire.vectors import (
    OTHER_REQUESTS,
    OWN_REQUESTS,
    REQUESTS,
    SERVED_REQUESTS,
    context_of,
    decoded_request_of,
    request_of,
)

if TYPE_CHECKING:
    from tests.unit.wire.vector_files import Vector

ALL_SERVED = [*SERVED_REQUESTS, *OWN_REQUESTS]


def ids(vector: Vector) -> str:
    return vector.name


def only(vector: Vector) -> Request | Rejected:
    (item,) = ServerConnection().receive(vector.frame)
    return item


@pytest.mark.parametrize("vector", ALL_SERVED, ids=ids)
def test_decodes_as_the_arguments_say(vector: Vector) -> None:
    item = only(vector)
    if vector.args.get("key") == "bytes:00ff":
        assert isinstance(item, Rejected)
        assert item.refusal.reason is Reason.MALFORMED
        assert not item.close
        return
    assert isinstance(item, Request)
    assert item.revision == vector.revision
    assert item.request_id == REQUEST_HEADER.unpack_from(vector.frame)[2]
    assert item.op is OPS[vector.code or 0]
    assert item.body == decoded_request_of(vector)
    assert type(item.body) is item.op.request
    assert item.context == context_of(vector)
    assert item.extended == (item.context is not None)
    assert not any(isinstance(field, memoryview) for field in tuple(item.body))


@pytest.mark.parametrize("vector", ALL_SERVED, ids=ids)
def test_is_written_byte_for_byte(vector: Vector) -> None:
    request_id = REQUEST_HEADER.unpack_from(vector.frame)[2]
    frame = encode_request(
        vector.revision, request_id, vector.op, request_of(vector), context_of(vector)
    )
    assert frame.hex() == vector.frame.hex()


@pytest.mark.parametrize("vector", [*ALL_SERVED, *OTHER_REQUESTS], ids=ids)
def test_waits_for_the_rest_wherever_it_is_cut(vector: Vector) -> None:
    whole = only(vector)
    for at in range(1, len(vector.frame)):
        server = ServerConnection()
        assert server.receive(vector.frame[:at]) == []
        assert server.receive(vector.frame[at:]) == [whole]


@pytest.mark.parametrize("vector", OTHER_REQUESTS, ids=ids)
def test_an_operation_not_served_is_refused_and_the_connection_stays(vector: Vector) -> None:
    server = ServerConnection()
    first, second = server.receive(vector.frame + SERVED_REQUESTS[0].frame)
    assert isinstance(first, Rejected)
    assert first.refusal.reason is Reason.UNKNOWN_OP
    assert first.request_id == REQUEST_HEADER.unpack_from(vector.frame)[2]
    assert not first.close
    assert isinstance(second, Request)


@pytest.mark.parametrize("vector", [v for v in REQUESTS if v.revision == 0], ids=ids)
def test_version_0_is_closed_without_an_answer(vector: Vector) -> None:
    item = only(vector)
    assert isinstance(item, Rejected)
    assert item.close
    assert item.encode() == b""
