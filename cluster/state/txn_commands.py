"""The commit of a transaction: one command that holds all its operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

from cluster.state.fields import HEAD, U64, is_row

if TYPE_CHECKING:
    from cluster.state.commands import Item
    from cluster.state.fields import Layout

TXN_COMMIT = 0x111

OPERATIONS_MAX = 256
"""Operations of one transaction."""

Operation: TypeAlias = "tuple[int, *tuple[Item, ...]]"
"""A command without session, sequence and floor: its code, then its arguments."""
TxnCommitCommand: TypeAlias = "tuple[int, int, int, int, int, tuple[Operation, ...]]"
"""transaction id, operations"""


class _Operations(NamedTuple):
    """Operations that have these layouts when the rest of their head is put in."""

    layouts: dict[object, Layout]

    def allows(self, value: object) -> bool:
        if not isinstance(value, (list, tuple)):
            return False
        operations = cast("list[object] | tuple[object, ...]", value)
        return len(operations) <= OPERATIONS_MAX and all(map(self._allows_one, operations))

    def _allows_one(self, operation: object) -> bool:
        if not isinstance(operation, (list, tuple)) or not operation:
            return False
        fields = cast("list[object] | tuple[object, ...]", operation)
        layout = self.layouts.get(fields[0])
        return layout is not None and is_row((fields[0], 0, 0, 0, *fields[1:]), layout)


def fields_of_commit(layouts: dict[object, Layout]) -> dict[object, Layout]:
    """The layout of a commit whose operations may have `layouts`."""
    return {TXN_COMMIT: (*HEAD, U64, _Operations(layouts))}
