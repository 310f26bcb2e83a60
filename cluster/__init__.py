"""The Flo server, to run inside your program: nodes, partitions, Raft groups and their storage.

Example:
    import asyncio
    import cluster

    async def main() -> None:
        config = cluster.NodeConfig("data", listen="127.0.0.1:9100")
        async with cluster.Node(config) as node:
            await node.client().kv.put("greeting", b"hello")

    asyncio.run(main())

These names are public; everything else in this package may change at any time.
"""

from cluster.addresses import Address, Member
from cluster.config import ConfigError, Limits, NodeConfig
from cluster.embedded import Node
from cluster.errors import NodeFailedError, StartError

__all__ = [
    "Address",
    "ConfigError",
    "Limits",
    "Member",
    "Node",
    "NodeConfig",
    "NodeFailedError",
    "StartError",
]
