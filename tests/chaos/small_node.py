"""`python -m tests.chaos.small_node`: `flo node`, but with a small log.

Its segments are switched, its snapshots taken and sent, every few seconds instead of every few
hours: in every run. It logs what it does.
"""

import argparse
import logging
import sys

from cluster.config import Limits, NodeConfig
from cluster.process import run
from cluster.storage.wal_config import WalConfig

_LIMITS = Limits(value_bytes_max=64 << 10, batch_bytes_max=64 << 10, log_bytes_max=384 << 10)
_WAL = WalConfig(
    segment_bytes=192 << 10, tail_bytes=16 << 10, batch_bytes_max=160 << 10, groups_max=8
)


def main() -> int:
    """Runs until SIGTERM; the exit code."""
    parser = argparse.ArgumentParser()
    for name in ("--listen", "--peer-listen", "--advertise", "--data-dir", "--cluster"):
        parser.add_argument(name, required=True)
    for name in ("--id", "--partitions"):
        parser.add_argument(name, required=True, type=int)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    config = NodeConfig(
        given.data_dir,
        node_id=given.id,
        listen=given.listen,
        peer_listen=given.peer_listen,
        advertise=given.advertise,
        members=given.cluster,
        partition_count=given.partitions,
        limits=_LIMITS,
        wal=_WAL,
    )
    return run(config)


if __name__ == "__main__":
    sys.exit(main())
