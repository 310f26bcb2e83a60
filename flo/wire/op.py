"""What the registry says of an operation, and the way to say it."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias, TypeVar, cast

from flo.wire.codec import Codec
from flo.wire.messages import Body, Result

Kind: TypeAlias = Literal["read", "write", "node"]
Routing: TypeAlias = Literal[
    "key", "keys", "stream", "routing_key", "txn", "all", "partition", "none"
]
AnyCodec: TypeAlias = Codec[Body, Result]


class Op(NamedTuple):
    """One operation.

    `kind`: a read or write of a partition, or answered by the node itself. `routing`: by the
    request's key or queue, each of its keys, its stream (see `stream_home`), the routing key that a
    transaction begins with, the transaction's id, all partitions, the partition it names, or none.
    `idempotent`: sending it again after an unknown outcome changes nothing, so it needs no session.
    A codec is None where the revision does not have the operation.
    """

    code: int
    name: str
    request: type[Body]
    result: type[Result]
    kind: Kind
    routing: Routing
    idempotent: bool
    v1: AnyCodec | None
    v2: AnyCodec | None


class Traits(NamedTuple):
    """What an operation does, apart from its messages; the fields are those of `Op`."""

    kind: Kind
    routing: Routing
    idempotent: bool


KEY_READ = Traits("read", "key", True)
KEY_WRITE = Traits("write", "key", False)
NODE = Traits("node", "none", True)
# The id is used up by the first copy, and the outcome of a commit is remembered with it.
TXN_END = Traits("write", "txn", True)

_B = TypeVar("_B", bound=Body)
_R = TypeVar("_R", bound=Result)


class Messages(NamedTuple):
    """What an operation carries, and how; the fields are those of `Op`."""

    request: type[Body]
    result: type[Result]
    v1: AnyCodec | None
    v2: AnyCodec | None


def messages(
    request: type[_B], result: type[_R], v1: Codec[_B, _R], v2: Codec[_B, _R] | None
) -> Messages:
    """The request and result of an operation, with the codecs that fit them."""
    # Whoever looks a row up by its code or request type hands it that request type again, so
    # forgetting the exact types is safe; the parameters are what checks that a row fits together.
    return Messages(
        cast("type[Body]", request),
        cast("type[Result]", result),
        cast("AnyCodec", v1),
        None if v2 is None else cast("AnyCodec", v2),
    )


def row(code: int, name: str, traits: Traits, messages: Messages) -> Op:
    """A row of the registry."""
    return Op(
        code,
        name,
        messages.request,
        messages.result,
        traits.kind,
        traits.routing,
        traits.idempotent,
        messages.v1,
        messages.v2,
    )
