"""Whether a node that knows the secret is one of this cluster's nodes, as it was before."""

from cluster.founding import DataDirectory, IncarnationMismatch
from cluster.peers.identity import PROTOCOL_VERSION, Identity, RefusalCode, Refused
from cluster.sealed_files import DataDirectoryError


def own_identity(directory: DataDirectory, client_address: str) -> Identity:
    """What this node presents to its peers."""
    return Identity(
        cluster_id=directory.founding.cluster_id,
        incarnation=directory.incarnation,
        generation=directory.generation,
        node_id=directory.node_id,
        protocol_version=PROTOCOL_VERSION,
        client_address=client_address,
    )


def admit(directory: DataDirectory, identity: Identity) -> Refused | None:
    """Judge a peer, and remember it, synced, when it is seen for the first time.

    For PeerHandler.verify: does not raise. When on_connected follows, the peer has judged us the
    same way, and `directory.record_met` is due.
    """
    node_id, own_id = identity.node_id, directory.node_id
    if identity.cluster_id != directory.founding.cluster_id:
        return Refused(
            RefusalCode.OTHER_CLUSTER,
            f"node {node_id} belongs to another cluster than node {own_id}: they were founded with "
            "different node ids, zones, replication, partition count, cluster name or secret",
        )
    if identity.protocol_version != PROTOCOL_VERSION:
        return Refused(
            RefusalCode.PROTOCOL_VERSION,
            f"node {node_id} speaks version {identity.protocol_version} of the peer protocol, "
            f"node {own_id} version {PROTOCOL_VERSION}: run the same version of Flo on both",
        )
    if node_id == own_id:
        return Refused(
            RefusalCode.WRONG_NODE, f"two nodes run as node {own_id}: give each its own id"
        )
    if node_id not in directory.founding.zones:
        return Refused(
            RefusalCode.UNKNOWN_NODE, f"node {node_id} is no founding node of this cluster"
        )
    try:
        directory.remember_peer(node_id, identity.incarnation, identity.generation)
    except IncarnationMismatch as error:
        return Refused(RefusalCode.INCARNATION, str(error))
    except DataDirectoryError as error:
        return Refused(RefusalCode.NOT_READY, f"node {own_id} cannot remember peers: {error}")
    return None
