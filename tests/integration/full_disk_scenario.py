"""Run in a mount namespace of its own: a node on a small file system that fills up, and is emptied.

unshare --mount python -m tests.integration.full_disk_scenario DIRECTORY
"""

import subprocess
import sys
import time
from pathlib import Path

from bench.cluster_view import ask
from bench.local_cluster import LocalCluster
from flo.wire.messages import KvGet, KvPut, Stored, Value

VALUE = b"x" * (256 << 10)
NAMESPACE = b"default"
PATIENCE_S = 60.0


def main() -> None:
    directory = Path(sys.argv[1])
    mount = ["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", str(directory)]
    subprocess.run(mount, check=True)
    ballast = directory / "ballast"
    ballast.write_bytes(bytes(60 << 20))
    with LocalCluster(nodes=1, partitions=2, parent_dir=directory, keep=True) as cluster:
        port = cluster.client_ports[1]
        acknowledged: list[bytes] = []
        refusal = fill(port, acknowledged)
        assert acknowledged, "nothing was written before the disk was full"
        assert "disk is full" in refusal, refusal
        check(port, acknowledged, while_full=True)
        ballast.unlink()
        wait_for_write(port)
        check(port, acknowledged)
        cluster.kill(1)
        cluster.start(1)
        check(port, acknowledged)
    sys.stdout.write(f"{len(acknowledged)} writes kept\n")


def fill(port: int, acknowledged: list[bytes]) -> str:
    """Writes until a write is refused; what the refusal says."""
    for number in range(1000):
        key = b"key-%d" % number
        try:
            assert isinstance(ask(port, KvPut(NAMESPACE, key, VALUE), timeout_s=20), Stored)
        except RuntimeError as error:
            if "disk is full" in str(error):
                return str(error)
            # The write that met the full disk is in the log: whether it counts is not known.
            continue
        acknowledged.append(key)
    return "the disk never became full"


def wait_for_write(port: int) -> None:
    """Returns once writes are taken again."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            ask(port, KvPut(NAMESPACE, b"after", b"all"), timeout_s=20)
        except RuntimeError:
            assert time.monotonic() < until, "writes are still refused"
        else:
            return


def check(port: int, keys: list[bytes], *, while_full: bool = False) -> None:
    """Every acknowledged write can be read; while the disk is full, some reads say that it is."""
    for key in keys:
        try:
            found = ask(port, KvGet(NAMESPACE, key), timeout_s=20)
        except RuntimeError as error:
            if while_full and "disk is full" in str(error):
                continue
            raise
        assert isinstance(found, Value), key
        assert found.value == VALUE, key


if __name__ == "__main__":
    main()
