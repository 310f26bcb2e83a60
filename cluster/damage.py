"""What an operator is told when damaged data stops a node or one of its replicas."""

import logging
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.errors import StartError
from cluster.state.errors import CorruptState
from cluster.storage.wal_errors import WalDamaged

if TYPE_CHECKING:
    from cluster.config import NodeConfig
    from cluster.partition import Partition

logger = logging.getLogger("flo.node")


class DataDamagedError(StartError):
    """Data on the disk is damaged; `partition` is set when it is the state of that one alone."""

    def __init__(self, message: str, partition: int | None = None) -> None:
        super().__init__(message)
        self.partition = partition


def state_folder(data_dir: Path, partition: int) -> Path:
    """Where a node keeps the state of a partition."""
    return data_dir / "state" / f"{partition:04d}"


class RepairAdvice:
    """The way out, as commands to type. `command` is what starts this node."""

    def __init__(self, config: "NodeConfig", command: str) -> None:
        self._config = config
        self._command = command
        self._told: set[Partition] = set()

    def how_to_repair(self, state_of: int | None = None) -> str:
        """`state_of`: nothing but the state of this partition is damaged."""
        data_dir, command = self._config.data_dir, self._command
        lines = ["Nothing was deleted. Stop this node if it runs."]
        if state_of is not None:
            lines += [
                "Let it rebuild this state from its own snapshot and log:",
                _move_away(state_folder(data_dir, state_of)),
                f"  {command}",
                "If the same is said again:",
            ]
        if self._config.replication > 1:
            again = command if "--repair" in shlex.split(command) else f"{command} --repair"
            lines += [
                "Rebuild the node from the others; until it has learnt, they must all be up:",
                _move_away(data_dir),
                f"  {again}",
            ]
        else:
            lines.append("No other node has its data: restore the damaged file, or a backup.")
        return "\n".join(lines)

    def tell_broken(self, partitions: "dict[int, Partition]") -> None:
        """Logs the advice for each replica that damage has stopped, once."""
        for number, partition in partitions.items():
            if partition.broken and partition not in self._told:
                self._tell(number, partition)

    def _tell(self, number: int, partition: "Partition") -> None:
        kind = (partition.broken or "").partition(":")[0]
        data_dir = self._config.data_dir
        if kind == CorruptState.__name__:
            place, advice = state_folder(data_dir, number) / "data.mdb", self.how_to_repair(number)
        elif kind == WalDamaged.__name__:
            place, advice = data_dir / "wal", self.how_to_repair()
        else:
            return
        self._told.add(partition)
        logger.critical(
            "partition %d of this node has stopped: damage in %s: %s.\n%s",
            *(number, place, partition.broken, advice),
        )


def _move_away(path: Path) -> str:
    target, number = path.with_name(f"{path.name}.damaged"), 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.damaged-{number}")
    if os.path.ismount(path):
        # It cannot be renamed.
        return f"  mkdir {_quoted(target)} && mv {_quoted(path)}/* {_quoted(target)}"
    return f"  mv {_quoted(path)} {_quoted(target)}"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
