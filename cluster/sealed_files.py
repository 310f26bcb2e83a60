"""Small files with a checksum, replaced as a whole: a crash leaves the old one or the new one."""

import json
import os
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import cast

_FORMAT = 5

Fsync = Callable[[int], None]


class DataDirectoryError(Exception):
    """The data directory cannot be used; the message names it and says what to do."""


def write_sealed(path: Path, content: Mapping[str, object], fsync: Fsync) -> None:
    """Replaces a file: temporary file, fsync, rename, fsync of the directory.

    Raises DataDirectoryError.
    """
    try:
        _replace_file(path, _seal(content), fsync)
    except OSError as error:
        raise DataDirectoryError(f"cannot write {path}: {error.strerror}") from error


def read_sealed(path: Path) -> dict[str, object]:
    """The content; its checksum says that we wrote it, so its shape is known.

    Raises DataDirectoryError.
    """
    try:
        sealed = cast("object", json.loads(path.read_bytes()))
    except OSError as error:
        raise DataDirectoryError(
            f"cannot read {path}: {error.strerror}. A data directory has this file from its first "
            "start on: restore it, or treat this node's data as lost"
        ) from error
    except ValueError as error:
        raise _damaged(path) from error
    if not isinstance(sealed, dict):
        raise _damaged(path)
    fields = cast("dict[str, object]", sealed)
    version = fields.get("format")
    if version != _FORMAT and isinstance(version, int):
        raise DataDirectoryError(
            f"{path} has format {version}, this version of Flo reads {_FORMAT}: use the version "
            "that wrote it, or a newer one"
        )
    content = fields.get("content")
    if (
        version != _FORMAT
        or not isinstance(content, dict)
        or fields.get("checksum") != _checksum(cast("object", content))
    ):
        raise _damaged(path)
    return cast("dict[str, object]", content)


def _damaged(path: Path) -> DataDirectoryError:
    return DataDirectoryError(
        f"{path} is damaged: its checksum does not match. Restore it from a backup, or treat this "
        "node's data as lost; do not edit or delete it"
    )


def _replace_file(path: Path, data: bytes, fsync: Fsync) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent, fsync)


def sync_directory(path: Path, fsync: Fsync) -> None:
    """Makes what was created, renamed or removed in a directory durable. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fsync(fd)
    finally:
        os.close(fd)


def canonical(content: object) -> bytes:
    """One way to write a value down: equal values give equal bytes."""
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _checksum(content: object) -> str:
    return blake2b(canonical(content), digest_size=16).hexdigest()


def _seal(content: Mapping[str, object]) -> bytes:
    sealed = {"format": _FORMAT, "checksum": _checksum(content), "content": content}
    return json.dumps(sealed, indent=1, sort_keys=True).encode() + b"\n"
