"""History and JSON documents: a part of `client.kv`."""

import json
from collections.abc import Callable
from typing import cast

from flo._caller import Caller
from flo._checks import options_of
from flo._kv_forms import as_bytes
from flo._names import encode_key, encode_namespace
from flo.exceptions import NotFoundError, ProtocolError, ValidationError
from flo.types import GetJsonResult, HistoryOptions, KVJsonOptions, PutResult, VersionEntry
from flo.wire.kv_messages import History, KvHistory, KvJsonDelete, KvJsonGet, KvJsonSet
from flo.wire.limits import HISTORY_ENTRIES_MAX, JSON_PATH_BYTES_MAX
from flo.wire.messages import Stored, Value
from flo.wire.status import Reason


class DocumentOperations:
    """The operations on versions of a key, and on parts of its value."""

    def __init__(self, caller: Callable[[], Caller], namespace: bytes) -> None:
        self._caller = caller
        self._default_namespace = namespace

    async def history(
        self,
        key: str | bytes,
        options: HistoryOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> list[VersionEntry]:
        """The last versions of a key, newest first; none when it was never written.

        A key keeps the 64 versions before the current one. What a deleted or expired key had stays
        for an hour, unless more than 10,000 others of its partition went after it. Fewer versions
        come when they are large.

        Example:
            await client.kv.put("price", b"10")
            await client.kv.put("price", b"12")
            for entry in await client.kv.history("price", HistoryOptions(limit=5)):
                print(entry.version, entry.at_ms, entry.value)
        """
        given = options_of(options, HistoryOptions)
        if not 1 <= given.limit <= HISTORY_ENTRIES_MAX:
            raise ValidationError(f"history limit of {given.limit}: 1 to {HISTORY_ENTRIES_MAX}")
        namespace = self._namespace(given.namespace)
        encoded = encode_key(namespace, key)
        caller = self._caller()
        try:
            history = await caller.call(
                KvHistory(namespace, encoded, given.limit),
                partition=caller.partition_of(namespace, encoded),
                timeout_ms=timeout_ms,
            )
        except NotFoundError:
            return []
        return [VersionEntry(*entry) for entry in cast(History, history).entries]

    async def json_get(
        self,
        key: str | bytes,
        path: str = "$",
        options: KVJsonOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> GetJsonResult[object] | None:
        """Reads a part of a JSON document; None when there is no such key, or nothing at the path.

        A path is `$`, then `.field` and `[index]` in any number. Raises BadRequestError when the
        value of the key is no JSON document.

        Example:
            await client.kv.json_set("user:7", "$", '{"name": "Ada", "tags": ["new"]}')
            found = await client.kv.json_get("user:7", "$.tags[0]")
            print(found.value)  # new
        """
        namespace = self._namespace(options_of(options, KVJsonOptions).namespace)
        encoded = encode_key(namespace, key)
        caller = self._caller()
        try:
            result = await caller.call(
                KvJsonGet(namespace, encoded, _path(path)),
                partition=caller.partition_of(namespace, encoded),
                timeout_ms=timeout_ms,
            )
        except NotFoundError as error:
            if error.reason is not Reason.NOT_FOUND:
                raise
            return None
        version, document = cast(Value, result)
        return GetJsonResult(_parsed(document), version, document)

    async def json_set(
        self,
        key: str | bytes,
        path: str,
        json_value: str | bytes | bytearray | memoryview,
        options: KVJsonOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> PutResult:
        """Sets a part of a JSON document to JSON text, and returns the version that made.

        `$` replaces the whole document or makes the key. Else key and path must be there, but for
        the last step: a new field, or the index after the last. The rest of the document stays byte
        for byte, its time to live too; changes of different fields at once are all kept. Raises
        NotFoundError, and BadRequestError for what is no JSON.

        Example:
            await client.kv.json_set("user:7", "$", '{"name": "Ada"}')
            await client.kv.json_set("user:7", "$.name", '"Ada L."')
            await client.kv.json_set("user:7", "$.tags", '["new"]')
        """
        document = _document(json_value)
        namespace = self._namespace(options_of(options, KVJsonOptions).namespace)
        encoded = encode_key(namespace, key)
        caller = self._caller()
        stored = await caller.call(
            KvJsonSet(namespace, encoded, _path(path), document),
            partition=caller.partition_of(namespace, encoded),
            is_write=True,
            timeout_ms=timeout_ms,
        )
        return PutResult(cast(Stored, stored).version or 0)

    async def json_del(
        self,
        key: str | bytes,
        path: str = "$",
        options: KVJsonOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> PutResult | None:
        """Takes out a part of a JSON document, and returns the version that made.

        `$` deletes the key; then there is no version. Raises NotFoundError when nothing is there.

        Example:
            await client.kv.json_set("user:7", "$", '{"name": "Ada", "age": 36}')
            await client.kv.json_del("user:7", "$.age")
            print((await client.kv.json_get("user:7")).value)  # {'name': 'Ada'}
        """
        namespace = self._namespace(options_of(options, KVJsonOptions).namespace)
        encoded = encode_key(namespace, key)
        caller = self._caller()
        left = await caller.call(
            KvJsonDelete(namespace, encoded, _path(path)),
            partition=caller.partition_of(namespace, encoded),
            is_write=True,
            timeout_ms=timeout_ms,
        )
        version = cast(Stored, left).version
        return None if version is None else PutResult(version)

    def _namespace(self, override: str | None) -> bytes:
        return self._default_namespace if override is None else encode_namespace(override)


def _document(given: str | bytes | bytearray | memoryview) -> bytes:
    return as_bytes(_encoded("json_value", given) if isinstance(given, str) else given)


def _path(path: str) -> bytes:
    encoded = _encoded("path", path)
    if len(encoded) > JSON_PATH_BYTES_MAX:
        raise ValidationError(f"path of {len(encoded)} bytes: at most {JSON_PATH_BYTES_MAX}")
    return encoded


def _encoded(name: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValidationError(f"{name}: no valid text: {error.reason}") from error


def _parsed(document: bytes) -> object:
    try:
        value: object = json.loads(document)
    except ValueError as error:
        # A number of more digits than Python converts, which is JSON all the same.
        raise ProtocolError(f"the JSON in the answer cannot be read: {error}") from error
    return value
