"""The payload inside a request frame: names, value, options.

v1, and v2 for operations outside the v2 table, carry `namespace:b16 key:b16 value:b32 options:b16`.
v2 table operations carry the two names and then a body of their own, which is the `value` here.
"""

from __future__ import annotations

import struct
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from flo.wire.errors import LocalProtocolError, ProtocolError, unreadable
from flo.wire.fields import b16
from flo.wire.tlv import (
    NO_OPTIONS,
    Options,
    encode_context,
    encode_options,
    parse_options,
    read_own_block,
)

if TYPE_CHECKING:
    from flo.wire.messages import CallContext

DEFAULT_NAMESPACE = b"default"

_U16 = Struct("<H")
_U32 = Struct("<I")
_u16 = _U16.unpack_from
_u32 = _U32.unpack_from


class Payload(NamedTuple):
    """A request payload taken apart. The namespace is never empty after decoding.

    `context` is set when taking the options apart already told it; `options` is empty then.
    """

    namespace: bytes
    key: bytes
    value: bytes
    options: Options = NO_OPTIONS
    context: CallContext | None = None


EMPTY_PAYLOAD = Payload(DEFAULT_NAMESPACE, b"", b"")


def _cut(field: str) -> ProtocolError:
    return unreadable(f"the payload ends inside its {field}")


def split_payload(data: bytes, at: int, end: int) -> Payload:
    """The payload between two offsets of `data`. Raises `ProtocolError` when it does not parse.

    Every length is compared with the end of the frame before anything is sliced.
    """
    key_at = at + 2
    if key_at > end or (key_at := key_at + _u16(data, at)[0]) + 2 > end:
        raise _cut("namespace")
    value_at = key_at + 2 + _u16(data, key_at)[0]
    if value_at + 4 > end:
        raise _cut("key")
    options_at = value_at + 4 + _u32(data, value_at)[0]
    if options_at > end:
        raise _cut("value")
    namespace = data[at + 2 : key_at] or DEFAULT_NAMESPACE
    key = data[key_at + 2 : value_at]
    value = data[value_at + 4 : options_at]
    if options_at == end:  # old clients leave the field out
        return Payload(namespace, key, value)
    options_at += 2
    if options_at > end or options_at + _u16(data, options_at - 2)[0] != end:
        raise unreadable("the options field does not end with the payload")
    if options_at == end:
        return Payload(namespace, key, value)
    context = read_own_block(data, options_at, end)
    if context is not None:
        return Payload(namespace, key, value, NO_OPTIONS, context)
    return Payload(namespace, key, value, parse_options(data, options_at, end))


def split_table_payload(data: bytes, at: int, end: int) -> Payload:
    """The same for a v2 table operation: two names, the rest is its body."""
    key_at = at + 2
    if key_at > end or (key_at := key_at + _u16(data, at)[0]) + 2 > end:
        raise _cut("namespace")
    body_at = key_at + 2 + _u16(data, key_at)[0]
    if body_at > end:
        raise _cut("key")
    namespace = data[at + 2 : key_at] or DEFAULT_NAMESPACE
    return Payload(namespace, data[key_at + 2 : body_at], data[body_at:end])


def join_payload(payload: Payload) -> bytes:
    """The bytes of a payload with value and options. Raises `LocalProtocolError`."""
    namespace, key, value, options, context = payload
    tail = encode_options(options) if options else b""
    if context is not None:
        tail += encode_context(context)
    try:
        return b"".join(
            (
                _U16.pack(len(namespace)),
                namespace,
                _U16.pack(len(key)),
                key,
                _U32.pack(len(value)),
                value,
                _U16.pack(len(tail)),
                tail,
            )
        )
    except struct.error as error:
        raise LocalProtocolError(
            f"namespace of {len(namespace)}, key of {len(key)}, value of {len(value)}, options of "
            f"{len(tail)} bytes: one does not fit its length field of 2, 2, 4, 2 bytes"
        ) from error


def join_table_payload(payload: Payload) -> bytes:
    """The bytes of a v2 table operation's payload. Raises `LocalProtocolError`."""
    return b"".join((b16(payload.namespace), b16(payload.key), payload.value))
