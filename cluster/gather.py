"""One answer from the results of several partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.operation import refusal_of
from flo.wire.status import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.calls import Outcome
    from cluster.operation import Answer


class Gather:
    """Waits for a result of each partition; the first refusal is the answer of the whole."""

    def __init__(
        self,
        count: int,
        gathered: Callable[[dict[int, tuple[object, ...]]], None],
        refused: Callable[[Answer], None],
    ) -> None:
        self._missing = count
        self._gathered = gathered
        self._refused = refused
        self._results: dict[int, tuple[object, ...]] = {}

    def start(self) -> None:
        """To be called after all slots were handed out: there may have been none."""
        if not self._missing and not self._results:
            self._gathered({})

    def slot(self, partition: int) -> Callable[[Outcome], None]:
        def done(outcome: Outcome) -> None:
            if self._missing <= 0:
                return
            refusal = outcome if isinstance(outcome, Refusal) else None
            if refusal is None and not isinstance(outcome, Refusal) and outcome[0] != 0:
                refusal = refusal_of(outcome)
            if refusal is not None:
                self._missing = 0
                self._results[partition] = ()
                self._refused(refusal)
            elif not isinstance(outcome, Refusal):
                self._results[partition] = outcome
                self._missing -= 1
                if not self._missing:
                    self._gathered(self._results)

        return done
