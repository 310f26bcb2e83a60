"""What the fields of a command may hold: types and ranges, for one place to check them all."""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeAlias, cast


class Field(Protocol):
    """One field of a command."""

    def allows(self, value: object) -> bool:
        """Whether a command with this value may stand in the log."""
        ...


class Number(NamedTuple):
    """An integer from `least` to `most`, both included."""

    least: int
    most: int
    optional: bool = False

    def allows(self, value: object) -> bool:
        if value is None:
            return self.optional
        return type(value) is int and self.least <= value <= self.most


class Bytes(NamedTuple):
    """At most `most` bytes."""

    most: int
    optional: bool = False

    def allows(self, value: object) -> bool:
        if value is None:
            return self.optional
        return type(value) is bytes and len(value) <= self.most


class ListOf(NamedTuple):
    """At most `most` items; each is a list or tuple with exactly these fields."""

    fields: tuple[Field, ...]
    most: int

    def allows(self, value: object) -> bool:
        if not isinstance(value, (list, tuple)):
            return False
        items = cast("list[object] | tuple[object, ...]", value)
        return len(items) <= self.most and all(is_row(item, self.fields) for item in items)


class Each(NamedTuple):
    """At most `most` plain values that one field allows."""

    field: Field
    most: int

    def allows(self, value: object) -> bool:
        if not isinstance(value, (list, tuple)):
            return False
        items = cast("list[object] | tuple[object, ...]", value)
        return len(items) <= self.most and all(self.field.allows(item) for item in items)


def is_row(value: object, fields: tuple[Field, ...]) -> bool:
    """Whether `value` is a list or tuple whose items are allowed one by one."""
    if not isinstance(value, (list, tuple)):
        return False
    items = cast("list[object] | tuple[object, ...]", value)
    return len(items) == len(fields) and all(
        field.allows(item) for field, item in zip(fields, items, strict=True)
    )


Layout: TypeAlias = tuple[Field, ...]
"""The fields of one command."""

U8 = Number(0, 2**8 - 1)
U16 = Number(0, 2**16 - 1)
U32 = Number(0, 2**32 - 1)
U64 = Number(0, 2**64 - 1)
I64 = Number(-(2**63), 2**63 - 1)
OPTIONAL_U64 = Number(0, 2**64 - 1, optional=True)
NAME = Bytes(4096)
VALUE = Bytes(1 << 31)
HEAD: Layout = (U64, U64, U64, U64)
"""code, session, sequence, floor"""
