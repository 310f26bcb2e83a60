"""What the nodes of a cluster say of themselves, asked over plain sockets."""

import asyncio
import json
import socket
from typing import TypedDict, cast

from bench.local_cluster import LocalCluster
from flo.wire.connection import ClientConnection
from flo.wire.messages import Body, ClusterStatus, ClusterStatusRequest, Result
from flo.wire.status import Refusal


class Replica(TypedDict):
    """One partition as one node sees it."""

    partition: int
    replicas: list[int]
    """The preferred leader first."""
    leader: int
    term: int
    role: str
    takes_part: bool
    learning: bool
    broken: str | None
    commit_index: int
    applied_index: int
    commands: int
    """Applied since its node started."""


def ask(port: int, body: Body, timeout_s: float = 30.0) -> Result:
    """One request to the node on `port`. RuntimeError when refused, OSError when unreachable."""
    codec = ClientConnection()
    _, frame = codec.request(body)
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        connection.sendall(frame)
        while True:
            data = connection.recv(65536)
            if not data:
                raise ConnectionError(f"the node on port {port} closed the connection")
            for answer in codec.receive(data):
                if isinstance(answer.result, Refusal):
                    raise RuntimeError(answer.result.message)
                return answer.result


def replicas_of(port: int, timeout_s: float = 30.0) -> list[Replica]:
    """The partitions as the node on `port` sees them. Raises as `ask` does."""
    status = cast(ClusterStatus, ask(port, ClusterStatusRequest(), timeout_s))
    return cast(list[Replica], json.loads(status.document)["partitions"])


async def wait_until_founded(cluster: LocalCluster) -> None:
    """Returns once all nodes have met: only then may any of them be missing."""
    for port in cluster.client_ports.values():
        while not all(row["takes_part"] for row in await asyncio.to_thread(replicas_of, port)):
            await asyncio.sleep(0.02)


async def leaders_of(cluster: LocalCluster) -> dict[int, int]:
    """Partition to leading node; waits until every partition has one."""
    while True:
        leaders: dict[int, int] = {}
        for node, port in cluster.client_ports.items():
            if cluster.processes[node].poll() is not None:
                continue
            for replica in await asyncio.to_thread(replicas_of, port):
                if replica["role"] == "leader":
                    leaders[replica["partition"]] = node
        if len(leaders) == cluster.partitions:
            return leaders
        await asyncio.sleep(0.05)


async def wait_until_led(cluster: LocalCluster) -> None:
    """Returns once all nodes take part and every partition has a leader."""
    await wait_until_founded(cluster)
    await leaders_of(cluster)


async def wait_until_settled(cluster: LocalCluster) -> None:
    """Returns once all nodes take part and every partition is led by its preferred replica.

    After a start that may take seconds: leaders that are known before that are wrong soon.
    """
    await wait_until_founded(cluster)
    preferred: dict[int, int] = {}
    for port in cluster.client_ports.values():
        for row in await asyncio.to_thread(replicas_of, port):
            preferred[row["partition"]] = row["replicas"][0]
    while await leaders_of(cluster) != preferred:
        await asyncio.sleep(0.1)
