"""A node as a process of its own: until it is told to stop, or has to."""

import asyncio
import gc
import logging
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

import uvloop

from cluster.errors import NodeFailedError, StartError
from cluster.gateway import allow_files
from cluster.node import NodeCore

if TYPE_CHECKING:
    from cluster.config import NodeConfig

logger = logging.getLogger("flo.node")


def run(config: "NodeConfig", command: str = "flo node ...") -> int:
    """Runs a node until SIGTERM or SIGINT; the exit code. Prints one line when it is ready.

    `command` is what was typed, for messages that tell how to start this node again.
    """
    allow_files()
    try:
        return uvloop.run(_run(config, command))
    except StartError as error:
        _say(sys.stderr, f"flo node: {error}")
        return 3


async def _run(config: "NodeConfig", command: str) -> int:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[NodeFailedError | None] = loop.create_future()

    def end(failure: NodeFailedError | None) -> None:
        if not ended.done():
            ended.set_result(failure)

    node = NodeCore(config, on_failure=end, command=command)
    await node.start()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, None)
    # What is alive now lives as long as the node: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    _say(
        sys.stdout,
        f"flo node ready: id {config.node_id}, clients {config.listen}, peers"
        f" {config.peer_listen}, data {config.data_dir}",
    )
    failure = await ended
    if failure is not None:
        _say(sys.stderr, f"flo node: {failure}")
        return 3
    logger.info("stopping")
    await node.hand_over()
    await node.stop()
    return 0


def _say(stream: TextIO, line: str) -> None:
    """Prints a line. A full disk behind the output costs the words, never the node."""
    with suppress(OSError):
        print(line, file=stream, flush=True)
