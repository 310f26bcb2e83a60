"""Results that are kept short, and what becomes of them when the leader answers.

A result is kept with its session until the client says that it has it. Messages and records are
in the state anyway, so their ids are kept and their contents are looked up for the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.state.commands import Result
    from cluster.state.store import ReadTransaction

Expansion: TypeAlias = "Callable[[ReadTransaction, Result], Result]"

EXPANSIONS: dict[object, Expansion] = {}
"""By the code of the command. A result that is no success is never expanded."""
