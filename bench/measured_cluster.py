"""A cluster whose nodes can be looked at, given settings, and repaired."""

from pathlib import Path

from bench.footprint import Memory, disk_mb, memory_of
from bench.local_cluster import LocalCluster


class MeasuredCluster(LocalCluster):
    """`settings`: as a node finds them in its environment, "FLO_LIMITS_LOG_BYTES_MAX=10MiB"."""

    def __init__(
        self,
        nodes: int,
        partitions: int,
        parent_dir: Path | None = None,
        *,
        settings: tuple[str, ...] = (),
        keep: bool = False,
    ) -> None:
        self._settings = settings
        self.repairing: set[int] = set()
        """These nodes are started with `--repair`."""
        super().__init__(nodes, partitions, parent_dir, keep=keep)

    @property
    def addresses(self) -> dict[int, tuple[str, int]]:
        """Where clients connect."""
        return {node: ("127.0.0.1", port) for node, port in self.client_ports.items()}

    def data_dir(self, node: int) -> Path:
        return self.directory / f"node-{node}"

    def memory(self, node: int) -> Memory:
        return memory_of(self.processes[node].pid)

    def disk_mb(self, node: int) -> dict[str, float]:
        """See `footprint.disk_mb`."""
        return disk_mb(self.data_dir(node))

    def _command(self, node: int) -> list[str]:
        repair = ["--repair"] if node in self.repairing else []
        return ["env", *self._settings, *super()._command(node), *repair]
