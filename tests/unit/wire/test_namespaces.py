"""No request of any operation gets in with a namespace that is empty or begins with NUL.

Queues and streams are kept next to the keys, under names that begin with NUL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from flo.wire import Body, Rejected, Request, ServerConnection, encode_request
from flo.wire.registry import OP_OF_REQUEST, OPS
from flo.wire.status import Ran, Reason
from tests.unit.wire.vectors import OWN_REQUESTS, SERVED_REQUESTS, request_of

if TYPE_CHECKING:
    from flo.wire import KvGet

_BODIES: dict[type[Body], Body] = {
    type(body): body for body in map(request_of, [*SERVED_REQUESTS, *OWN_REQUESTS])
}
PLACED = [body for body in _BODIES.values() if hasattr(body, "namespace")]


def in_namespace(body: Body, namespace: bytes, revision: int) -> Request | Rejected:
    """What the server makes of the request, said in this namespace."""
    # Of all requests only the namespace matters here, and each has one.
    moved: Body = cast("KvGet", body)._replace(namespace=namespace)
    frame = encode_request(revision, 1, OP_OF_REQUEST[type(body)], moved)
    (item,) = ServerConnection().receive(frame)
    return item


def revisions_of(body: Body) -> list[int]:
    op = OP_OF_REQUEST[type(body)]
    return [revision for revision, codec in ((1, op.v1), (2, op.v2)) if codec is not None]


def test_every_operation_with_a_name_is_tried() -> None:
    assert {type(body) for body in PLACED} == {
        op.request for op in OPS.values() if "namespace" in op.request._fields
    }


@pytest.mark.parametrize("body", PLACED, ids=lambda body: type(body).__name__)
@pytest.mark.parametrize("namespace", [b"\x00", b"\x00q", b"q\x00name", b"default\x00"])
def test_nul_is_refused(body: Body, namespace: bytes) -> None:
    for revision in revisions_of(body):
        item = in_namespace(body, namespace, revision)
        assert isinstance(item, Rejected)
        refusal = item.refusal
        assert (refusal.reason, refusal.ran) == (Reason.MALFORMED, Ran.NO)
        assert refusal.message == "namespace contains a NUL byte"


@pytest.mark.parametrize("body", PLACED, ids=lambda body: type(body).__name__)
def test_none_is_the_default(body: Body) -> None:
    for revision in revisions_of(body):
        expected = in_namespace(body, b"default", revision)
        found = in_namespace(body, b"", revision)
        if isinstance(expected, Request):
            assert isinstance(found, Request)
            assert found.body == expected.body
            assert cast("KvGet", found.body).namespace == b"default"
