"""A log of troubles that repeat: each is logged once, and again when it changes."""

import logging

_KEYS_MAX = 256

logger = logging.getLogger("flo.peers")


class TroubleLog:
    """The last trouble per source, so that a retry every second is one line and not thousands."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def report(self, source: str, trouble: str) -> bool:
        """Log a trouble unless it is the last one of this source; says whether it was new."""
        if self._last.get(source) == trouble:
            return False
        if len(self._last) >= _KEYS_MAX:
            # Strangers can bring as many sources as they have addresses. Logging some again is
            # cheaper than remembering which came last.
            self._last.clear()
        self._last[source] = trouble
        logger.warning("%s: %s", source, trouble)
        return True

    def settle(self, source: str) -> None:
        """The trouble is over: its return is news."""
        self._last.pop(source, None)
