"""What is said of one workload at one point of a dimension."""

from bench.rows import Row
from bench.scaling.limits import Limit


class Point(Row):
    """A row, what the nodes took for it, and what limits it."""

    dimension: str
    at: int
    """How many there are of what the dimension is about."""
    nodes: int
    partitions: int
    busiest_cpu_s_per_kop: float
    """CPU seconds of the node that used most, for 1,000 operations of the cluster."""
    batch: float
    """Commands in one log entry; 0 of what only reads."""
    private_mib: float
    """Of the node that takes most, after the window."""
    heap_mib: float
    idle_percent: float | None
    """Of a core: the node that uses most without any load. None: not looked at."""
    sync_ms: float
    """What a sync of the disk took before."""
    limit: Limit


def cores_used(point: Point) -> float:
    """By nodes and generator together."""
    per_kop = point["server_cpu_s_per_kop"] + point["client_cpu_s_per_kop"]
    return per_kop * point["ops_s"] / 1000


def apart_ops_s(point: Point) -> float:
    """By calculation: when each node has a core for itself, the busiest of them is the limit."""
    busiest = point["busiest_cpu_s_per_kop"]
    return 1000 / busiest if busiest else 0.0


def idle_text(point: Point) -> str:
    """For a column of a table."""
    idle = point["idle_percent"]
    return "-" if idle is None else f"{idle:.1f}"


def title() -> str:
    """The first line of a table of points."""
    return (
        f"{'dimension':<13} {'at':>8} {'operation':<15} {'outstanding':>11} {'ops/s':>9}"
        f" {'p50 ms':>8} {'p99 ms':>8} {'errors':>6} {'server':>7} {'busiest':>7} {'batch':>6}"
        f" {'MiB':>7} {'heap':>6} {'idle %':>6} {'cores':>5} {'others':>6} {'limit':<8}"
        "   (CPU s per 1000)"
    )


def line(point: Point) -> str:
    """The line of a table below `title`."""
    return (
        f"{point['dimension']:<13} {point['at']:>8} {point['operation']:<15}"
        f" {point['outstanding']:>11} {point['ops_s']:>9,.0f} {point['p50_ms']:>8.2f}"
        f" {point['p99_ms']:>8.2f} {point['errors']:>6} {point['server_cpu_s_per_kop']:>7.3f}"
        f" {point['busiest_cpu_s_per_kop']:>7.3f} {point['batch']:>6.1f}"
        f" {point['private_mib']:>7.1f} {point['heap_mib']:>6.1f} {idle_text(point):>6}"
        f" {cores_used(point):>5.2f} {point['other_cores']:>6.2f} {point['limit']:<8}"
    )
