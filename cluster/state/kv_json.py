"""JSON documents in keys: read, changed and cut in place, each in one step.

The values are bytes like any others; whether one is a document shows when a path is looked up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.state import json_path, keyspace, kv
from cluster.state.commands import JSON_DELETE, JSON_SET
from cluster.state.json_path import JsonError
from flo.wire.status import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.state.commands import JsonDeleteCommand, JsonSetCommand, Result
    from cluster.state.context import Context
    from cluster.state.keyspace import Record

_NOT_FOUND: Result = (int(Reason.NOT_FOUND),)


def json_get(record: Record | None, path: bytes) -> Result:
    """`(0, version, part)` of the document that a key holds, with the version of the whole."""
    try:
        steps = json_path.parse_path(path)
        if record is None:
            return _NOT_FOUND
        part = json_path.get(record.value, steps)
    except JsonError as error:
        return error.result
    return json_path.NOWHERE if part is None else (0, record.version, part)


def json_set(context: Context, command: JsonSetCommand) -> Result:
    """Sets the part at a path; the whole may be new. The time to live stays as it is."""
    _, _, _, _, namespace, key, path, document, bytes_max = command
    full = namespace + b"\x00" + key
    stored = keyspace.get(context.txn, full)
    record = kv.live(stored, context.stamp_ms)
    try:
        steps = json_path.parse_path(path)
        text = json_path.read_document(document)
        if not steps:
            value = document
        elif record is None:
            return _NOT_FOUND
        else:
            changed = json_path.put(record.value, steps, text)
            if changed is None:
                return json_path.NOWHERE
            value = changed
    except JsonError as error:
        return error.result
    old_bytes = 0 if record is None else len(record.value)
    # One that is too large already, by a limit that was lowered, may still be made smaller.
    if len(value) > max(bytes_max, old_bytes):
        text = f"the document would have {len(value)} bytes: at most {bytes_max}"
        return int(Reason.FIELD_TOO_LONG), text.encode()
    expires_at_ms = 0 if record is None else record.expires_at_ms
    return 0, kv.store(context, full, stored, expires_at_ms, value)


def json_delete(context: Context, command: JsonDeleteCommand) -> Result:
    """`(0, version)` after taking out what is at a path; the version is None when that was the
    whole, and the key is gone."""
    _, _, _, _, namespace, key, path = command
    full = namespace + b"\x00" + key
    record = kv.live(keyspace.get(context.txn, full), context.stamp_ms)
    try:
        steps = json_path.parse_path(path)
        if record is None:
            return _NOT_FOUND
        if not steps:
            kv.remove(context, full, record)
            return 0, None
        value = json_path.delete(record.value, steps)
    except JsonError as error:
        return error.result
    if value is None:
        return json_path.NOWHERE
    return 0, kv.store(context, full, record, record.expires_at_ms, value)


HANDLERS: dict[int, Callable[..., Result]] = {JSON_SET: json_set, JSON_DELETE: json_delete}
