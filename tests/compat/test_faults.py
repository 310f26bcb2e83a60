"""Programs written for the official SDK while nodes fail, with that SDK and with our package."""

import asyncio
import signal
from functools import partial
from pathlib import Path

import pytest

from bench.cluster_view import replicas_of
from bench.local_cluster import LocalCluster
from flo.wire import Ran, Reason, Refusal, Rejected, ServerConnection, encode_answer
from tests.compat.kit import PACKAGES, Package, finish, run_with_faults, start_driver
from tests.integration.kit import eventually

REFUSED = ["UnavailableError", "LEADER_UNKNOWN", "NO"]

FAULTS: dict[str, dict[Package, object]] = {
    "a_node_is_killed_and_comes_back": {
        "official": ["a connection error", True, "before"],
        # It connects again by itself, and to the other nodes too.
        "ours": ["no error", True, "before"],
    },
    "a_node_hangs": {
        "official": [True, "dropped"],
        # A late answer is recognised by its number, so the connection need not go.
        "ours": [True, "connected"],
    },
    "the_other_nodes_go_on_when_one_is_killed": {"official": ["2"], "ours": ["2"]},
    "without_a_majority_calls_are_refused_and_retried": {
        "official": [REFUSED, "1", "2"],
        "ours": [REFUSED, "1", "2"],
    },
    "a_worker_goes_on_when_its_node_comes_back": {
        "official": list(range(10)),
        "ours": list(range(10)),
    },
}

SCRIPTED = "refusals"


@pytest.mark.parametrize("scenario", FAULTS)
@pytest.mark.parametrize("package", PACKAGES)
def test_fault(package: Package, scenario: str, official_sdk: Path, cluster: LocalCluster) -> None:
    driver = start_driver(package, official_sdk, cluster.endpoints, scenario)
    assert run_with_faults(driver, partial(inject, cluster)) == FAULTS[scenario][package]


def inject(cluster: LocalCluster, wish: str) -> None:
    verb, _, name = wish.partition(" node ")
    node = int(name)
    match verb:
        case "kill":
            cluster.kill(node)
        case "start":
            cluster.start(node)
        case "pause":
            cluster.processes[node].send_signal(signal.SIGSTOP)
        case "resume":
            cluster.processes[node].send_signal(signal.SIGCONT)
        case "wait for leader on":
            asyncio.run(until_leading(cluster, node))
        case _:
            raise AssertionError(f"no such fault: {wish}")


async def until_leading(cluster: LocalCluster, node: int) -> None:
    """Until it leads what it is preferred for: before, leadership still moves to and from it."""

    async def leads() -> bool:
        replicas = await asyncio.to_thread(replicas_of, cluster.client_ports[node])
        preferred = [row for row in replicas if row["replicas"][0] == node]
        return all(row["role"] == "leader" for row in preferred)

    await eventually(f"node {node} leads the partitions that prefer it", leads)


class ScriptedNode(asyncio.Protocol):
    """Refuses every put."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        self.requests = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._codec = ServerConnection()

    def data_received(self, data: bytes) -> None:
        for item in self._codec.receive(data):
            assert not isinstance(item, Rejected)
            self.requests += 1
            self._transport.write(encode_answer(2, item.request_id, item.op, self.refusal))


@pytest.mark.parametrize(
    ("reason", "ran", "tries"),
    [
        (Reason.LEADER_UNKNOWN, Ran.NO, 4),
        (Reason.SHARD_BUSY, Ran.NO, 4),
        (Reason.TOO_MANY_PROPOSALS, Ran.NO, 4),
        (Reason.WRITES_STOPPED, Ran.NO, 4),
        (Reason.ANSWER_LOST, Ran.UNKNOWN, 1),
        (Reason.LEADER_UNKNOWN, Ran.UNKNOWN, 1),
        (Reason.COMMITTED_NOT_APPLIED, Ran.YES, 1),
        (Reason.CAS_MISMATCH, Ran.NO, 1),
        (Reason.NOT_FOUND, Ran.NO, 1),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
async def test_the_official_sdk_retries_what_certainly_did_not_run(
    reason: Reason, ran: Ran, tries: int, official_sdk: Path
) -> None:
    node = ScriptedNode(Refusal(reason, ran, "as the script says"))
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: node, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        driver = start_driver("official", official_sdk, f"127.0.0.1:{port}", SCRIPTED)
        seen = await asyncio.to_thread(finish, driver)
    refused = seen[SCRIPTED]
    assert isinstance(refused, list)
    assert refused[1:] == [reason.name, ran.name]
    assert node.requests == tries
