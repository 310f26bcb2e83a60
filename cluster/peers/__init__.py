"""The network between nodes: authenticated links, frames of messages, redialing. See DESIGN.md."""

from cluster.peers.admission import admit, own_identity
from cluster.peers.config import PeerConfig, PeerHandler
from cluster.peers.identity import Identity, RefusalCode, Refused
from cluster.peers.network import ListenError, MessageTooLargeError, PeerNetwork
from cluster.peers.packing import Message, pack_message
from cluster.peers.secret import (
    SecretError,
    create_secret_file,
    load_secret,
    secret_fingerprint,
)
from cluster.peers.timers import LoopTimers, ManualTimers, Timer, Timers

__all__ = [
    "Identity",
    "ListenError",
    "LoopTimers",
    "ManualTimers",
    "Message",
    "MessageTooLargeError",
    "PeerConfig",
    "PeerHandler",
    "PeerNetwork",
    "RefusalCode",
    "Refused",
    "SecretError",
    "Timer",
    "Timers",
    "admit",
    "create_secret_file",
    "load_secret",
    "own_identity",
    "pack_message",
    "secret_fingerprint",
]
