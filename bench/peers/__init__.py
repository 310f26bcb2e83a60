"""Other systems, started and measured as Flo is: etcd, NATS JetStream, RabbitMQ and Redis.

    peer = PEERS["etcd"]
    print(peer.missing() or "is installed")
    with peer.start(None) as cluster:
        seen = await cluster.sample("put", Load(outstanding=64, window=Window(), value_bytes=128))

`README.md` in this folder says what is measured and how to read it.
"""

from bench.peers.etcd import ETCD
from bench.peers.nats import NATS
from bench.peers.peer import Load, Peer, PeerCluster
from bench.peers.rabbitmq import RABBITMQ
from bench.peers.redis import REDIS

__all__ = ["PEERS", "Load", "Peer", "PeerCluster"]

PEERS = {peer.name: peer for peer in (ETCD, NATS, RABBITMQ, REDIS)}
"""All, by name; `missing()` says of each whether it can be started here."""
