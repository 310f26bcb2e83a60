"""Whether a local cluster can run here, before any node is started."""

import fcntl
import os
import socket
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cluster.founding import DEFAULT_PARTITION_COUNT, read_founding
from cluster.peers.secret import SecretError, create_secret_file
from cluster.sealed_files import DataDirectoryError
from flo.cli.up.children import HOST, Child
from flo.cli.up.errors import UpError

DEFAULT_NODES = 3
_LOCK_FILE = "up.lock"


class Size(NamedTuple):
    """What is fixed with the first start."""

    nodes: int
    partitions: int


@contextmanager
def own(data_dir: Path) -> Generator[None]:
    """Makes the directory and keeps other `flo up` from it. Raises UpError."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(data_dir / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise UpError(
            f"cannot write to the data directory {data_dir}: {error.strerror}. Give another"
            " --data-dir"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise UpError(
            f"another `flo up` runs on {data_dir}: stop it first, or give another --data-dir and"
            " --base-port"
        ) from error
    finally:
        os.close(descriptor)


def size_of(data_dir: Path, nodes: int | None, partitions: int | None) -> Size:
    """How large the cluster is: as it was founded, else as given. Raises UpError."""
    for directory in sorted(data_dir.glob("node-*/")):
        try:
            founding = read_founding(directory)
        except DataDirectoryError as error:
            raise UpError(str(error)) from error
        if founding is not None:
            found = Size(len(founding.zones), founding.partition_count)
            _same("--nodes", found.nodes, nodes, data_dir)
            _same("--partitions", found.partitions, partitions, data_dir)
            return found
    return Size(nodes or DEFAULT_NODES, partitions or DEFAULT_PARTITION_COUNT)


def _same(option: str, found: int, given: int | None, data_dir: Path) -> None:
    if given not in (None, found):
        raise UpError(
            f"{data_dir} holds a cluster with {option} {found}, this start gives {option} {given}:"
            " leave the option out, or give another --data-dir for a new cluster"
        )


def secret_file(data_dir: Path) -> Path:
    """The secret that the nodes share, made with the first start. Raises UpError."""
    path = data_dir / "secret"
    if not path.exists():
        try:
            create_secret_file(path)
        except SecretError as error:
            raise UpError(str(error)) from error
    return path


def check_ports(children: Iterable[Child]) -> None:
    """Raises UpError for the first port that is taken."""
    for child in children:
        for port, use in ((child.port, "clients"), (child.peer_port, "other nodes")):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((HOST, port))
                except OSError as error:
                    raise UpError(
                        f"port {port} is taken (node {child.node_id} wants it for {use}): stop what"
                        " uses it, or give another --base-port"
                    ) from error
