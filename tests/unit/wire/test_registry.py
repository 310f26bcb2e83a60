"""Every row of the registry is complete, and has vectors."""

from __future__ import annotations

from typing import get_args

import pytest

from flo.wire import OP_OF_REQUEST, OPS, Op
from flo.wire.op import Routing
from flo.wire.registry import V2_TABLE_CODES
from tests.unit.wire.vectors import (
    OTHER_REQUESTS,
    OWN_REQUESTS,
    OWN_RESPONSES,
    SERVED_REQUESTS,
    SERVED_RESPONSES,
)

ROWS = list(OPS.items())


def name(value: object) -> str | None:
    return value.name if isinstance(value, Op) else None


@pytest.mark.parametrize(("code", "op"), ROWS, ids=name)
def test_a_row_is_complete(code: int, op: Op) -> None:
    assert op.code == code
    assert op.name
    assert op.kind in ("read", "write", "node")
    assert op.routing in get_args(Routing)
    assert op.v1 is not None
    assert (op.kind == "node") == (op.routing == "none")
    assert op.idempotent or op.kind == "write"
    fields = getattr(op.request, "_fields", ())
    assert bool({"key", "queue"} & set(fields)) == (op.routing == "key")
    assert ("keys" in fields) == (op.routing == "keys")
    assert ("stream" in fields) == (op.routing == "stream")
    begins_or_ends = "routing_key" in fields and not {"key", "keys"} & set(fields)
    assert begins_or_ends == (op.routing in ("routing_key", "txn"))
    assert op.routing != "txn" or "txn" in fields


@pytest.mark.parametrize(("code", "op"), ROWS, ids=name)
@pytest.mark.parametrize("revision", [1, 2])
def test_a_row_has_vectors_for_every_revision_it_has(code: int, op: Op, revision: int) -> None:
    has_codec = (op.v1 if revision == 1 else op.v2) is not None
    for vectors in ((*SERVED_REQUESTS, *OWN_REQUESTS), (*SERVED_RESPONSES, *OWN_RESPONSES)):
        found = [v for v in vectors if v.code == code and v.revision == revision]
        assert bool(found) == has_codec


def test_operations_by_request_type() -> None:
    assert {op.request for op in OPS.values()} == set(OP_OF_REQUEST)
    for request, op in OP_OF_REQUEST.items():
        assert op.request is request
        assert OPS[op.code] is op
    # persist has the request type of expire, which alone can say every TTL.
    assert "kv.persist" not in {op.name for op in OP_OF_REQUEST.values()}


def test_names_and_numbers_are_unique() -> None:
    assert len({op.name for op in OPS.values()}) == len(OPS)
    assert not {vector.code for vector in OTHER_REQUESTS} & set(OPS)


def test_v2_table_operations_are_the_specified_ones() -> None:
    table = (0x100, 0x101, 0x102, 0x103, 0x104, 0x105, 0x10B, 0x10C, 0x10D, 0x10E)
    assert {*table, 0x110, 0x111, 0x112, 0x113, 0x115, 0x302, 0x323} == V2_TABLE_CODES
    outside = {
        op.name.split(".")[0] for code, op in OPS.items() if code not in V2_TABLE_CODES and op.v2
    }
    assert outside <= {"ping", "queue", "stream"}
