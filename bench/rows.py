"""What a bench says of one operation under one load: the row of its table and of its file."""

import statistics
from collections.abc import Callable, Sequence
from typing import Literal, TypedDict

from bench.window import Sample

VALUE_BYTES = 128
"""Of a value or payload, unless another size is asked for."""

Clients = Literal["leaders", "spread"]
"""Where requests go: to the leader of their partition, or to all nodes alike."""


class Row(TypedDict):
    """Medians over the repetitions, of operations that succeeded."""

    system: str
    """"flo", or the peer that was measured."""
    operation: str
    clients: Clients
    outstanding: int
    """Operations that were under way at a time."""
    value_bytes: int
    ops_s: float
    ops_s_reps: list[int]
    p50_ms: float
    p99_ms: float
    errors: int
    """Operations that were refused, of all repetitions together."""
    server_cpu_s_per_kop: float
    """CPU seconds of all servers for 1,000 operations."""
    server_units_per_kop: float
    """The same in calibration units: see `bench.calibration`. 0 when they were not measured."""
    unit_s: float
    """CPU seconds of such a unit at that time."""
    client_cpu_s_per_kop: float
    """CPU seconds of the load generator."""
    other_cores: float
    """How many cores others than servers and generator used; the mean."""
    by_second: list[list[int]]
    """Of each repetition: how many operations ended in each full second."""


def row(
    system: str,
    operation: str,
    clients: Clients,
    outstanding: int,
    samples: Sequence[Sample],
    *,
    value_bytes: int = VALUE_BYTES,
) -> Row:
    """The row of these repetitions; of nothing that succeeded, costs are 0."""

    def median(value: Callable[[Sample], float]) -> float:
        return statistics.median(map(value, samples))

    return {
        "system": system,
        "operation": operation,
        "clients": clients,
        "outstanding": outstanding,
        "value_bytes": value_bytes,
        "ops_s": round(median(lambda sample: sample.per_second), 1),
        "ops_s_reps": [round(sample.per_second) for sample in samples],
        "p50_ms": round(median(lambda sample: sample.percentile_ms(50)), 3),
        "p99_ms": round(median(lambda sample: sample.percentile_ms(99)), 3),
        "errors": sum(sample.errors for sample in samples),
        "server_cpu_s_per_kop": round(median(lambda each: _per_kop(each, each.server_cpu_s)), 5),
        "server_units_per_kop": round(median(_units_per_kop), 3),
        "unit_s": round(median(lambda sample: sample.unit_s), 3),
        "client_cpu_s_per_kop": round(median(lambda each: _per_kop(each, each.client_cpu_s)), 5),
        "other_cores": round(
            statistics.mean(sample.other_cpu_s / sample.seconds for sample in samples), 2
        ),
        "by_second": [sample.by_second for sample in samples],
    }


def title() -> str:
    """The first line of a table of rows."""
    return (
        f"{'system':<9} {'operation':<10} {'clients':<8} {'outstanding':>11} {'bytes':>6}"
        f" {'ops/s':>9} {'p50 ms':>8} {'p99 ms':>8} {'errors':>6} {'server':>8}"
        f" {'units':>7} {'unit s':>6} {'client':>8} {'others':>7}"
    )


def line(row: Row) -> str:
    """The line of a table below `title`."""
    return (
        f"{row['system']:<9} {row['operation']:<10} {row['clients']:<8} {row['outstanding']:>11}"
        f" {row['value_bytes']:>6} {row['ops_s']:>9,.0f} {row['p50_ms']:>8.2f}"
        f" {row['p99_ms']:>8.2f} {row['errors']:>6} {row['server_cpu_s_per_kop']:>8.3f}"
        f" {row['server_units_per_kop']:>7.2f} {row['unit_s']:>6.2f}"
        f" {row['client_cpu_s_per_kop']:>8.3f}"
        f" {row['other_cores']:>7.2f}"
    )


def _units_per_kop(sample: Sample) -> float:
    return _per_kop(sample, sample.server_cpu_s / sample.unit_s) if sample.unit_s else 0.0


def _per_kop(sample: Sample, cpu_s: float) -> float:
    return 1000 * cpu_s / len(sample.latencies) if sample.latencies else 0.0
