"""What the state machine says of its own rows is checked while tests run."""

from typing import TYPE_CHECKING

from cluster.state.overlay import Overlay

if TYPE_CHECKING:
    import pytest

    from cluster.state.store import Table


def check_inserts(patch: "pytest.MonkeyPatch") -> None:
    """An `Overlay` believes who inserts that there is no such row: a wrong claim fails from now on.

    Looking at each time would cost what the claim spares.
    """
    insert = Overlay.insert

    def checked(txn: Overlay, table: "Table", key: bytes, value: bytes) -> None:
        assert txn.get(table, key) is None, f"{table.name} {key.hex()} is there already"
        insert(txn, table, key, value)

    patch.setattr(Overlay, "insert", checked)
