"""The tables and sentences of the page about scaling."""

import os
import statistics
from collections.abc import Iterator, Sequence

from bench.scaling.limits import Limit
from bench.scaling.model import CannotFitError, Costs, Observation, fit
from bench.scaling.points import Point, apart_ops_s, cores_used, idle_text

MODEL = "model"
"""The text beside the dimensions; it needs those of `value-bytes`."""
_LIMITS: tuple[Limit, ...] = ("CPU", "one core", "fsync", "network")
_REPLICATED_FROM = 3
_FORETOLD_OUTSTANDING, _FORETOLD_BYTES = (1, 64, 512, 4096), (128, 1024, 16384)


def mark(dimension: str) -> str:
    """The name of the marks on the page."""
    return f"scaling-{dimension}"


def table(points: Sequence[Point]) -> str:
    """The rows of one dimension, and what follows from them."""
    lines = [
        f"| {points[0]['dimension']} | operation | outstanding | ops/s | p50, ms | p99, ms"
        " | errors | server | busiest | apart | batch | memory | heap | idle | cores | limit |",
        "|" + "---|" * 16,
    ]
    for each in points:
        cells = (
            f"{each['at']:,}",
            each["operation"],
            f"{each['outstanding']}",
            f"{each['ops_s']:,.0f}",
            f"{each['p50_ms']:.2f}",
            f"{each['p99_ms']:.2f}",
            f"{each['errors']}",
            f"{each['server_cpu_s_per_kop']:.3f}",
            f"{each['busiest_cpu_s_per_kop']:.3f}",
            f"{apart_ops_s(each):,.0f}",
            f"{each['batch']:.1f}" if each["batch"] else "-",
            f"{each['private_mib']:.0f}",
            f"{each['heap_mib']:.0f}",
            idle_text(each),
            f"{cores_used(each):.2f}",
            each["limit"],
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", _conditions(points), _limits(points), *_gains(points)]) + "\n"


def _conditions(points: Sequence[Point]) -> str:
    sync_ms = statistics.median(each["sync_ms"] for each in points)
    others = max(each["other_cores"] for each in points)
    return (
        f"{len(os.sched_getaffinity(0))} cores; an fdatasync took {sync_ms:.2f} ms, and others than"
        f" nodes and generator used up to {others:.2f} cores."
    )


def _limits(points: Sequence[Point]) -> str:
    counts = {limit: sum(each["limit"] == limit for each in points) for limit in _LIMITS}
    told = ", ".join(f"{limit} {count}" for limit, count in counts.items() if count)
    return f"Rows by what limits them: {told}."


def _gains(points: Sequence[Point]) -> list[str]:
    """What more nodes bring when each has a core, against the fewest that replicate."""
    if points[0]["dimension"] != "nodes":
        return []
    lines = [""]
    for name, outstanding in dict.fromkeys((p["operation"], p["outstanding"]) for p in points):
        rows = [
            p
            for p in points
            if (p["operation"], p["outstanding"]) == (name, outstanding)
            and p["at"] >= _REPLICATED_FROM
            and apart_ops_s(p)
        ]
        if len(rows) > 1:
            first = apart_ops_s(rows[0])
            told = [
                f"{p['at']} nodes {apart_ops_s(p):,.0f} ({apart_ops_s(p) / first:.2f} times)"
                for p in rows
            ]
            lines.append(f"- {name}, {outstanding} outstanding, ops/s apart: {', '.join(told)}")
    return lines if len(lines) > 1 else []


def model_rows(points: Sequence[Point]) -> list[Point]:
    """Those that the model is fitted to."""
    return [
        each
        for each in points
        if each["dimension"] == "value-bytes"
        and each["operation"] == "put"
        and each["batch"] > 0
        and each["server_cpu_s_per_kop"] > 0
    ]


def model_text(points: Sequence[Point]) -> str:
    """The costs of a put, how well they fit, and what follows for nodes with one core each.

    Says why when the rows do not tell the costs apart.
    """
    rows = model_rows(points)
    seen = [
        Observation(p["batch"], p["outstanding"], p["value_bytes"], p["server_cpu_s_per_kop"])
        for p in rows
    ]
    try:
        costs = fit(seen)
    except CannotFitError as error:
        return f"No model: {error}.\n"
    errors = [abs(costs.error(each)) for each in seen]
    return "\n".join(
        [
            f"A put costs {costs.command:.4f} ms + {costs.entry:.4f} ms / batch"
            f" + {costs.turn:.4f} ms / outstanding + {1024 * costs.byte:.4f} ms * KiB of CPU time,"
            f" of all nodes together. Fitted to {len(seen)} rows, it is off by"
            f" {statistics.median(errors):.0%} in the median and {max(errors):.0%} at most.",
            "",
            "| bytes | outstanding | batch | measured, ms | foretold, ms | off by |",
            "|---|---|---|---|---|---|",
            *(
                f"| {p['value_bytes']:,} | {p['outstanding']} | {each.batch:.1f}"
                f" | {each.cost_ms:.3f} | {costs.of(*each[:3]):.3f}"
                f" | {costs.error(each):+.0%} |"
                for p, each in zip(rows, seen, strict=True)
            ),
            "",
            *_foretold(costs, rows),
        ]
    )


def _foretold(costs: Costs, rows: Sequence[Point]) -> list[str]:
    share = statistics.median(p["busiest_cpu_s_per_kop"] / p["server_cpu_s_per_kop"] for p in rows)
    partitions = rows[0]["partitions"]

    def ops_s(size: int) -> Iterator[str]:
        for outstanding in _FORETOLD_OUTSTANDING:
            batch = max(1.0, outstanding / partitions)
            yield _ops_s(costs.of(batch, outstanding, size) * share)

    columns = " | ".join(f"{each} outstanding" for each in _FORETOLD_OUTSTANDING)
    return [
        f"Of this the busiest node has a share of {share:.2f}. On machines with one core for each"
        f" of the {rows[0]['nodes']} nodes, and the clients elsewhere, that node's core is the"
        f" limit, if disk and network are not; with {partitions} partitions:",
        "",
        f"| puts/s | {columns} |",
        "|---|" + "---|" * len(_FORETOLD_OUTSTANDING),
        *(f"| {size:,} bytes | {' | '.join(ops_s(size))} |" for size in _FORETOLD_BYTES),
        "",
    ]


def _ops_s(cost_ms: float) -> str:
    """A small cost can be foretold as none at all."""
    return f"{1000 / cost_ms:,.0f}" if cost_ms > 0 else "-"
