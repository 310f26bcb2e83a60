"""How much a process has received over TCP, as the kernel counts it: see sock_diag(7)."""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import NamedTuple

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY, _DONE = 20, 3
_REQUEST_DUMP = 0x301
_ALL_STATES = 0xFFFFFFFF
_TCP_INFO = 2
_MESSAGE = Struct("=IHHII")
_REQUEST = Struct("=BBBBI48x")
_SOCKET = Struct("=4x2s62xI")
"""Its own port, and the inode that a file descriptor names."""
_ATTRIBUTE = Struct("=HH")
_RECEIVED_AT = 128
"""Where `struct tcp_info` has `tcpi_bytes_received`."""
_RECEIVED = Struct("=Q")
_READ_BYTES = 1 << 20


class _Socket(NamedTuple):
    local_port: int
    inode: int
    received: int


class Received:
    """Adds up what one process receives, also over connections that end: call `look` often."""

    def __init__(self, pid: int, *, but_port: int) -> None:
        """but_port: a local port whose connections are left out."""
        self._pid = pid
        self._but_port = but_port
        self._by_socket: dict[int, int] = {}

    def look(self) -> None:
        """Takes note. Raises OSError when the process has ended."""
        own = set(_inodes(self._pid))
        for each in _sockets():
            if each.inode in own and each.local_port != self._but_port:
                self._by_socket[each.inode] = each.received

    @property
    def total(self) -> int:
        """Bytes, as far as they were seen."""
        return sum(self._by_socket.values())


def _inodes(pid: int) -> Iterator[int]:
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # It was closed just now.
            target = os.readlink(descriptor)
            if target.startswith("socket:["):
                yield int(target[len("socket:[") : -1])


def _sockets() -> Iterator[_Socket]:
    """The IPv4 connections of this machine."""
    body = _REQUEST.pack(socket.AF_INET, socket.IPPROTO_TCP, 1 << (_TCP_INFO - 1), 0, _ALL_STATES)
    header = _MESSAGE.pack(_MESSAGE.size + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        netlink.send(header + body)
        while True:
            data = netlink.recv(_READ_BYTES)
            at = 0
            while at < len(data):
                length, kind, *_ = _MESSAGE.unpack_from(data, at)
                if kind == _DONE:
                    return
                if kind != _SOCK_DIAG_BY_FAMILY:
                    raise OSError("the kernel does not tell about its connections")
                yield _read(data[at + _MESSAGE.size : at + length])
                at += _aligned(length)


def _read(message: bytes) -> _Socket:
    local, inode = _SOCKET.unpack_from(message)
    received = 0
    at = _SOCKET.size
    while at < len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, at)
        if kind == _TCP_INFO:
            (received,) = _RECEIVED.unpack_from(message, at + _ATTRIBUTE.size + _RECEIVED_AT)
        at += _aligned(length)
    return _Socket(int.from_bytes(local), inode, received)


def _aligned(length: int) -> int:
    return (length + 3) & ~3
