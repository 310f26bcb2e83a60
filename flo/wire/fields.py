"""Integers, length-prefixed bytes and optional fields, little-endian.

`Reader` checks every length against what is left before it slices, so it never allocates more than
the bytes it was given hold. The writers are functions that return bytes; they raise
`LocalProtocolError` for a value its field cannot hold.
"""

from __future__ import annotations

import struct
from struct import Struct

from flo.wire.errors import LocalProtocolError, unreadable

_U16 = Struct("<H")
_U32 = Struct("<I")
_U64 = Struct("<Q")
_I64 = Struct("<q")


class Reader:
    """Reads fields one after the other. Raises `ProtocolError` when they do not fit the bytes."""

    __slots__ = ("_at", "_data", "_end")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._end = len(data)

    def _advance(self, size: int) -> int:
        at = self._at
        if size > self._end - at:
            raise unreadable(
                f"a field of {size} bytes at offset {at} ends after the {self._end} bytes given"
            )
        self._at = at + size
        return at

    def u8(self) -> int:
        return self._data[self._advance(1)]

    def u16(self) -> int:
        value: int = _U16.unpack_from(self._data, self._advance(2))[0]
        return value

    def u32(self) -> int:
        value: int = _U32.unpack_from(self._data, self._advance(4))[0]
        return value

    def u64(self) -> int:
        value: int = _U64.unpack_from(self._data, self._advance(8))[0]
        return value

    def i64(self) -> int:
        value: int = _I64.unpack_from(self._data, self._advance(8))[0]
        return value

    def integers(self, layout: Struct) -> tuple[int, ...]:
        """Several integers at once."""
        return layout.unpack_from(self._data, self._advance(layout.size))

    def flag(self) -> bool:
        """A boolean or presence byte: 0 or 1, anything else is malformed."""
        value = self.u8()
        if value > 1:
            raise unreadable(f"a boolean of {value} at offset {self._at - 1}: 0 or 1 expected")
        return value == 1

    def bytes_of(self, size: int) -> bytes:
        at = self._advance(size)
        return self._data[at : at + size]

    def b8(self) -> bytes:
        return self.bytes_of(self.u8())

    def b16(self) -> bytes:
        return self.bytes_of(self.u16())

    def b32(self) -> bytes:
        return self.bytes_of(self.u32())

    def rest(self) -> bytes:
        """Everything not yet read."""
        return self.bytes_of(self._end - self._at)

    def optional_u8(self) -> int | None:
        return self.u8() if self.flag() else None

    def optional_u16(self) -> int | None:
        return self.u16() if self.flag() else None

    def optional_u32(self) -> int | None:
        return self.u32() if self.flag() else None

    def optional_u64(self) -> int | None:
        return self.u64() if self.flag() else None

    def optional_i64(self) -> int | None:
        return self.i64() if self.flag() else None

    def optional_flag(self) -> bool | None:
        if not self.flag():
            return None
        return self.flag()

    def optional_b8(self) -> bytes | None:
        return self.b8() if self.flag() else None

    def optional_b16(self) -> bytes | None:
        return self.b16() if self.flag() else None

    @property
    def left(self) -> int:
        """How many bytes are not yet read."""
        return self._end - self._at

    def finish(self) -> None:
        """Refuses bytes left over."""
        if self._at != self._end:
            raise unreadable(f"{self._end - self._at} bytes left over after offset {self._at}")


def _pack(layout: Struct, value: int) -> bytes:
    try:
        return layout.pack(value)
    except struct.error as error:
        raise LocalProtocolError(
            f"{value} does not fit an integer field of {layout.size} bytes"
        ) from error


def u8(value: int) -> bytes:
    if not 0 <= value <= 0xFF:
        raise LocalProtocolError(f"{value} does not fit an integer field of 1 byte")
    return bytes((value,))


def u16(value: int) -> bytes:
    return _pack(_U16, value)


def u32(value: int) -> bytes:
    return _pack(_U32, value)


def u64(value: int) -> bytes:
    return _pack(_U64, value)


def i64(value: int) -> bytes:
    return _pack(_I64, value)


def flag(value: bool) -> bytes:
    return b"\x01" if value else b"\x00"


def _check_length(value: bytes, length_max: int) -> None:
    if len(value) > length_max:
        raise LocalProtocolError(
            f"{len(value)} bytes do not fit a field of at most {length_max} bytes"
        )


def b8(value: bytes) -> bytes:
    _check_length(value, 0xFF)
    return bytes((len(value),)) + value


def b16(value: bytes) -> bytes:
    _check_length(value, 0xFFFF)
    return _U16.pack(len(value)) + value


def b32(value: bytes) -> bytes:
    _check_length(value, 0xFFFF_FFFF)
    return _U32.pack(len(value)) + value


def optional_u8(value: int | None) -> bytes:
    return b"\x00" if value is None else b"\x01" + u8(value)


def optional_u16(value: int | None) -> bytes:
    return b"\x00" if value is None else b"\x01" + u16(value)


def optional_u32(value: int | None) -> bytes:
    return b"\x00" if value is None else b"\x01" + u32(value)


def optional_u64(value: int | None) -> bytes:
    return b"\x00" if value is None else b"\x01" + u64(value)


def optional_i64(value: int | None) -> bytes:
    return b"\x00" if value is None else b"\x01" + i64(value)


def optional_flag(value: bool | None) -> bytes:
    return b"\x00" if value is None else b"\x01" + flag(value)


def optional_b8(value: bytes | None) -> bytes:
    return b"\x00" if value is None else b"\x01" + b8(value)


def optional_b16(value: bytes | None) -> bytes:
    return b"\x00" if value is None else b"\x01" + b16(value)
