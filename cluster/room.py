"""Bytes that one node may hold for one purpose at a time, whoever holds them."""


class Room:
    """Counts what is held against a bound. Whoever takes gives back as much."""

    __slots__ = ("bytes_max", "taken")

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.taken = 0

    def has(self, nbytes: int) -> bool:
        """Whether so much more may be taken."""
        return self.taken + nbytes <= self.bytes_max

    def take(self, nbytes: int) -> None:
        """Also past the bound: what cannot be refused any more is counted all the same."""
        self.taken += nbytes

    def give(self, nbytes: int) -> None:
        self.taken -= nbytes
