"""Ports for `flo up`, which takes neighbouring ones."""

from contextlib import ExitStack
from random import SystemRandom
from socket import socket

from cluster.config import PEER_PORT_DISTANCE


def free_base_port(nodes: int = 3) -> int:
    """A port that, with its neighbours and theirs for peers, is free."""
    rng = SystemRandom()
    while True:
        base = rng.randrange(20_000, 32_000)
        with ExitStack() as stack:
            try:
                for port in (
                    base + n + more for n in range(nodes) for more in (0, PEER_PORT_DISTANCE)
                ):
                    stack.enter_context(socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
        return base
