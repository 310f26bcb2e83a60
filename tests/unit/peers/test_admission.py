"""Which authentic nodes are let in, and that an emptied node does not come back as the old one."""

import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cluster.addresses import parse_members
from cluster.founding import DataDirectory, FoundingParameters
from cluster.peers.admission import admit, own_identity
from cluster.peers.config import PeerConfig
from cluster.peers.identity import PROTOCOL_VERSION, Identity, RefusalCode, Refused
from cluster.peers.network import PeerNetwork
from tests.unit.peers.kit import ANY_PORT, NOWHERE, SECRET, Recorder, until

THREE = FoundingParameters(parse_members("1=a:1,2=b:1,3=c:1"))
REPLICAS = (1, 2, 3)


def opened(root: Path, node_id: int) -> DataDirectory:
    return DataDirectory(root / str(node_id), node_id, THREE)


class Node(Recorder):
    """A data directory with a network, put together as a node does it."""

    def __init__(self, directory: DataDirectory, peers: "dict[int, Node]") -> None:
        super().__init__(verify=lambda identity: admit(directory, identity))
        self.directory = directory
        self.network: PeerNetwork = PeerNetwork(
            PeerConfig(
                identity=own_identity(directory, f"n{directory.node_id}:9000"),
                listen=ANY_PORT,
                peers={
                    node_id: peers[node_id].network.listen_address if node_id in peers else NOWHERE
                    for node_id in directory.founding.zones
                    if node_id != directory.node_id
                },
                secret=SECRET,
                redial_first_s=0.001,
                redial_max_s=0.004,
            ),
            self,
        )

    def on_connected(self, node_id: int, client_address: str) -> None:
        self.directory.record_met(node_id)
        super().on_connected(node_id, client_address)


@asynccontextmanager
async def running(root: Path, node_id: int, peers: "dict[int, Node]") -> AsyncGenerator[Node]:
    node = Node(opened(root, node_id), peers)
    try:
        await node.network.start()
        yield node
    finally:
        await node.network.close()
        node.directory.close()


async def test_an_emptied_node_is_refused_told_and_has_no_vote(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path, 1, {}) as one:
        async with running(tmp_path, 2, {1: one}) as two:
            await two.saw("connected", 1)
            await one.saw("connected", 2)
        await one.saw("disconnected", 2)
        shutil.rmtree(tmp_path / "2")
        async with running(tmp_path, 2, {1: one}) as two:
            await two.saw("refused", 1)
            _, _, refused = two.calls[0]
            assert isinstance(refused, Refused)
            assert refused.code == RefusalCode.INCARNATION
            assert refused.message.startswith("node 2 came back with an empty or different data")
            assert "start it on an empty one with `flo node --repair`" in refused.message
            assert refused.message.endswith("learns from the others before it counts again")
            for side in ("it refuses this node", "refused by this node"):
                await logged(caplog, f"{side}: node 2 came back with an empty or different")
            # Nor does a peer that never met the former node 2 give it a vote.
            async with running(tmp_path, 3, {2: two}):
                await two.saw("connected", 3)
                assert two.count("connected", 1) == 0
                assert not two.directory.may_vote(REPLICAS)


async def logged(caplog: pytest.LogCaptureFixture, text: str) -> None:
    await until(lambda: text in caplog.text)


async def test_three_new_nodes_may_vote_once_they_have_met(tmp_path: Path) -> None:
    async with (
        running(tmp_path, 1, {}) as one,
        running(tmp_path, 2, {1: one}) as two,
    ):
        assert not one.directory.may_vote(REPLICAS)
        async with running(tmp_path, 3, {1: one, 2: two}) as three:
            for node in (one, two, three):
                await node.saw("connected", times=2)
                assert node.directory.may_vote(REPLICAS)
    again = opened(tmp_path, 1)
    assert again.may_vote(REPLICAS)
    again.close()


def test_a_node_is_admitted_again_with_the_same_directory(tmp_path: Path) -> None:
    one, two = opened(tmp_path, 1), opened(tmp_path, 2)
    assert admit(one, own_identity(two, "h:1")) is None
    two.close()
    two = opened(tmp_path, 2)
    assert admit(one, own_identity(two, "other:1")) is None
    one.close()
    two.close()


TWO = Identity("", "ab" * 16, 2, PROTOCOL_VERSION, "h:1")


@pytest.mark.parametrize(
    ("identity", "code", "complaint"),
    [
        (TWO._replace(cluster_id="00" * 16), RefusalCode.OTHER_CLUSTER, "to another cluster"),
        (TWO._replace(protocol_version=99), RefusalCode.PROTOCOL_VERSION, "speaks version 99"),
        (TWO._replace(node_id=1), RefusalCode.WRONG_NODE, "two nodes run as node 1"),
        (TWO._replace(node_id=4), RefusalCode.UNKNOWN_NODE, "node 4 is no founding node"),
    ],
)
def test_whoever_does_not_belong_is_refused_and_not_remembered(
    tmp_path: Path, identity: Identity, code: RefusalCode, complaint: str
) -> None:
    one = opened(tmp_path, 1)
    if not identity.cluster_id:
        identity = identity._replace(cluster_id=one.founding.cluster_id)
    before = (tmp_path / "1" / "peers.json").read_bytes()
    refused = admit(one, identity)
    assert refused is not None
    assert refused.code == code
    assert complaint in refused.message
    assert (tmp_path / "1" / "peers.json").read_bytes() == before
    one.close()


def test_a_peer_that_cannot_be_remembered_is_refused(tmp_path: Path) -> None:
    one, two = opened(tmp_path, 1), opened(tmp_path, 2)
    shutil.rmtree(tmp_path / "1")
    refused = admit(one, own_identity(two, "h:1"))
    assert refused is not None
    assert refused.code == RefusalCode.NOT_READY
    assert "cannot remember peers: cannot write" in refused.message
    one.close()
    two.close()
