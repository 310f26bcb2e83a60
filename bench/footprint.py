"""What a node takes: memory, and disk by what it is for."""

from pathlib import Path
from typing import NamedTuple

_FOLDERS = {"log": "wal", "state": "state", "snapshots": "snapshots"}
_BLOCK_BYTES = 512
_MB = 1_000_000


class Memory(NamedTuple):
    """In MiB, of what no other process shares."""

    private: float
    """With the pages of the state that are mapped: the system takes those back when it likes."""
    heap: float
    """Without them."""


def memory_of(pid: int) -> Memory:
    """Raises OSError when the process has ended."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kib = {
        name: int(rest.split()[0])
        for name, _, rest in (line.partition(":") for line in text.splitlines()[1:])
    }
    private = kib["Private_Clean"] + kib["Private_Dirty"]
    return Memory(private / 1024, kib["Anonymous"] / 1024)


def disk_mb(data_dir: Path) -> dict[str, float]:
    """Log, state and snapshots of a node, in MB of blocks in use."""
    return {
        kind: sum(map(_allocated, (data_dir / folder).rglob("*"))) / _MB
        for kind, folder in _FOLDERS.items()
    }


def snapshots_in(data_dir: Path) -> set[Path]:
    """Each by partition and name; the name tells the entry, the term and a digest."""
    folder = data_dir / _FOLDERS["snapshots"]
    return {path.relative_to(folder) for path in folder.glob("*/*.snapshot")}


def distrust_states(data_dir: Path) -> None:
    """Makes the states look as if the system had crashed; the node must not be running."""
    for boot in (data_dir / _FOLDERS["state"]).glob("*/boot"):
        boot.write_text("another boot")


def written_mb(pid: int) -> float:
    """What the process has had written to disks since it started."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["write_bytes"]) / _MB


def _allocated(path: Path) -> int:
    try:
        return path.stat().st_blocks * _BLOCK_BYTES
    except FileNotFoundError:  # It was let go, or renamed, just now.
        return 0
