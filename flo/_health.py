"""How the connections of a client are, at one moment."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """The way to one node.

    `connected_for_s` is None while it is not connected; then `last_error` says why, after how many
    `failures` in a row, and `retry_in_s` is how long it is left alone, unless a program waits for
    it. `unanswered` requests wait for it, those included that nobody awaits any more.
    `round_trip_ms` is the time of the newest ping, or else of opening the connection.
    """

    endpoint: str
    connected_for_s: float | None
    unanswered: int
    round_trip_ms: float | None
    failures: int
    last_error: str | None
    retry_in_s: float

    @property
    def connected(self) -> bool:
        """Whether requests can be sent to it right now."""
        return self.connected_for_s is not None


@dataclass(frozen=True, slots=True)
class ClientHealth:
    """All nodes that the client knows, and its calls.

    `leaders_known` of `partitions` have a leader that the client knows the address of; requests to
    the others go by way of any node. `calls_in_flight` are under way, `calls_waiting` beyond
    `in_flight_max` wait for their turn.
    """

    nodes: tuple[NodeHealth, ...]
    partitions: int
    leaders_known: int
    calls_in_flight: int
    calls_waiting: int

    @property
    def connected(self) -> bool:
        """Whether any node is connected."""
        return any(node.connected for node in self.nodes)
