"""What no official SDK does with a group (v1 frames). Key: the stream.

    create     value    group:b16
               options  0x30 0x31 0x39 0x3A: the settings; 0x32: the mode; 0x21 or 0x23: the start
    configure  value    group:b16
               options  the settings
    delete     value    group:b16
               answer   empty, or status "not found"
    touch      value    as an ack
               options  0x38: how long, in milliseconds
    info       value    group:b16
               answer   mode:u8 ack_timeout_ms:u32 max_deliver:u8 max_standbys:u16 slots:u16
                        cursor_ts:u64 cursor_seq:u64 pending:u64 lag:u64
                        consumers:u32 (name:b16 pending:u64 active:u8)*

The code of configure is ours, the others are the protocol's, and so are the value of create and the
options from 0x30 on; the rest is ours.
"""

from __future__ import annotations

from struct import Struct

from flo.wire import tlv
from flo.wire.codec import Codec
from flo.wire.errors import refused
from flo.wire.fields import Reader, b16, flag, u32, u64
from flo.wire.group import decode_done, encode_done, read_acked, read_group
from flo.wire.group_messages import (
    ConsumerSummary,
    GroupConfigure,
    GroupCreate,
    GroupDelete,
    GroupInfo,
    GroupInfoResult,
    GroupMode,
    GroupSettings,
    GroupTouch,
)
from flo.wire.limits import check_range
from flo.wire.messages import Deleted
from flo.wire.payload import Payload
from flo.wire.status import Reason
from flo.wire.stream_fields import (
    U8,
    U16,
    U32,
    id_option,
    pack,
    put_id,
    put_integer,
    read_id,
    write_ids,
)

_INFO = Struct("<BIBHHQQQQ")


def _read_name(payload: Payload) -> tuple[bytes, bytes, bytes]:
    namespace, stream, group, reader = read_group(payload)
    reader.finish()
    return namespace, stream, group


def _settings(options: tlv.Options) -> GroupSettings:
    return GroupSettings(
        tlv.exact_option(options, tlv.ACK_TIMEOUT_MS, 4),
        tlv.exact_option(options, tlv.MAX_DELIVER, 1),
        tlv.exact_option(options, tlv.MAX_STANDBYS, 2),
        tlv.exact_option(options, tlv.SLOTS, 2),
    )


def _put_settings(options: dict[int, bytes], settings: GroupSettings) -> None:
    put_integer(options, tlv.ACK_TIMEOUT_MS, U32, settings.ack_timeout_ms)
    put_integer(options, tlv.MAX_DELIVER, U8, settings.max_deliver)
    put_integer(options, tlv.MAX_STANDBYS, U16, settings.max_standbys)
    put_integer(options, tlv.SLOTS, U16, settings.slots)


def _mode(number: int) -> GroupMode:
    check_range("mode of a group", number, least=0, most=max(GroupMode))
    return GroupMode(number)


def _decode_create(payload: Payload, _value_bytes_max: int) -> GroupCreate:
    options = payload.options
    mode = _mode(tlv.exact_option(options, tlv.GROUP_MODE, 1) or 0)
    start, tail = id_option(options, tlv.STREAM_START), tlv.TAIL in options
    if tail and start is not None:
        message = "a group that starts at an id and at the end: give one of them"
        raise refused(Reason.CONFLICTING_FIELDS, message)
    return GroupCreate(*_read_name(payload), mode, start, tail, _settings(options))


def _encode_create(create: GroupCreate) -> Payload:
    options: dict[int, bytes] = {}
    _put_settings(options, create.settings)
    put_integer(options, tlv.GROUP_MODE, U8, create.mode or None)
    put_id(options, tlv.STREAM_START, create.start)
    if create.tail:
        options[tlv.TAIL] = b""
    return Payload(create.namespace, create.stream, b16(create.group), options)


def _decode_configure(payload: Payload, _value_bytes_max: int) -> GroupConfigure:
    return GroupConfigure(*_read_name(payload), _settings(payload.options))


def _encode_configure(configure: GroupConfigure) -> Payload:
    options: dict[int, bytes] = {}
    _put_settings(options, configure.settings)
    return Payload(configure.namespace, configure.stream, b16(configure.group), options)


def _decode_delete(payload: Payload, _value_bytes_max: int) -> GroupDelete:
    return GroupDelete(*_read_name(payload))


def _encode_name(request: GroupDelete | GroupInfo) -> Payload:
    return Payload(request.namespace, request.stream, b16(request.group))


def _encode_deleted(_deleted: Deleted) -> bytes:
    return b""


def _decode_deleted(_data: bytes, _delete: GroupDelete) -> Deleted:
    return Deleted(True)


def _decode_touch(payload: Payload, _value_bytes_max: int) -> GroupTouch:
    extend_ms = tlv.exact_option(payload.options, tlv.EXTEND_ACK_MS, 4)
    return GroupTouch(*read_acked(payload), extend_ms)


def _encode_touch(touch: GroupTouch) -> Payload:
    value = b16(touch.group) + b16(touch.consumer) + write_ids(touch.ids)
    options: dict[int, bytes] = {}
    put_integer(options, tlv.EXTEND_ACK_MS, U32, touch.extend_ms)
    return Payload(touch.namespace, touch.stream, value, options)


def _decode_info(payload: Payload, _value_bytes_max: int) -> GroupInfo:
    return GroupInfo(*_read_name(payload))


def _encode_info_result(info: GroupInfoResult) -> bytes:
    settings = (setting or 0 for setting in info.settings)
    head = pack(_INFO, info.mode, *settings, *info.cursor, info.pending, info.lag)
    parts = [head, u32(len(info.consumers))]
    for name, pending, active in info.consumers:
        parts += (b16(name), u64(pending), flag(active))
    return b"".join(parts)


def _decode_info_result(data: bytes, _info: GroupInfo) -> GroupInfoResult:
    reader = Reader(data)
    mode = _mode(reader.u8())
    settings = GroupSettings(reader.u32(), reader.u8(), reader.u16(), reader.u16())
    cursor, pending, lag = read_id(reader), reader.u64(), reader.u64()
    consumers = tuple(
        ConsumerSummary(reader.b16(), reader.u64(), reader.flag()) for _ in range(reader.u32())
    )
    return GroupInfoResult(mode, settings, cursor, pending, lag, consumers)


CREATE = Codec(_decode_create, _encode_create, encode_done, decode_done)
CONFIGURE = Codec(_decode_configure, _encode_configure, encode_done, decode_done)
DELETE = Codec(_decode_delete, _encode_name, _encode_deleted, _decode_deleted, Deleted(False))
TOUCH = Codec(_decode_touch, _encode_touch, encode_done, decode_done)
INFO = Codec(_decode_info, _encode_name, _encode_info_result, _decode_info_result)
