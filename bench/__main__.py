"""`python -m bench`: KV put and get, failover, and what a call costs the client, against a cluster
that it starts.
"""

import argparse
import json
import statistics
from pathlib import Path

import uvloop

from bench.client_cost import run_client_cost
from bench.cluster_view import leaders_of, wait_until_led
from bench.failover import run_failover
from bench.load import Sample, Workload, preload, run_load
from bench.local_cluster import LocalCluster

_TITLE = (
    f"{'operation':<10} {'clients':<10} {'outstanding':>11} {'ops/s':>9} {'p50 ms':>8}"
    f" {'p99 ms':>8} {'errors':>7} {'server CPU s/1000':>18}"
)


def main() -> None:
    options = _parse()
    with LocalCluster(options.nodes, options.partitions, options.dir) as cluster:
        if options.failover:
            uvloop.run(run_failover(cluster, options.failover))
        elif options.client_cost:
            rows = run_client_cost(
                cluster, operations=options.client_cost, repetitions=options.repetitions
            )
            _write(rows, options.json)
        else:
            uvloop.run(_run(cluster, options))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--value-bytes", type=int, default=128)
    parser.add_argument("--outstanding", type=_numbers, default=[1, 64, 512])
    parser.add_argument("--operations", type=lambda text: text.split(","), default=["put", "get"])
    parser.add_argument(
        "--clients", type=lambda text: text.split(","), default=["leaders", "spread"]
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="of a measured window")
    parser.add_argument("--warmup", type=float, default=1.0, help="seconds before it")
    parser.add_argument("--repetitions", type=int, default=3, help="the median is reported")
    parser.add_argument("--dir", type=Path, help="where the data directories are made")
    parser.add_argument("--json", type=Path, help="write the rows to this file too")
    parser.add_argument("--failover", type=int, metavar="TRIALS", help="measure kill -9 instead")
    parser.add_argument(
        "--client-cost",
        type=int,
        nargs="?",
        const=10_000,
        metavar="OPERATIONS",
        help="measure the CPU time of clients instead, ours beside others",
    )
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


async def _run(cluster: LocalCluster, options: argparse.Namespace) -> None:
    await wait_until_led(cluster)
    addresses = {node: ("127.0.0.1", port) for node, port in cluster.client_ports.items()}
    puts = Workload.puts(
        keys=options.keys, value_bytes=options.value_bytes, partitions=options.partitions
    )
    workloads = {
        "put": puts,
        "get": Workload.gets(keys=options.keys, partitions=options.partitions),
    }
    print(
        f"{options.nodes} nodes, {options.partitions} partitions, {options.keys} keys,"
        f" {options.value_bytes}-byte values, every write synced before it is acknowledged"
    )
    print(_TITLE, flush=True)
    await preload(addresses, puts, await leaders_of(cluster))
    rows: list[dict[str, object]] = []
    for operation in options.operations:
        for clients in options.clients:
            for outstanding in options.outstanding:
                samples = [
                    await run_load(
                        addresses,
                        workloads[operation],
                        leaders=await leaders_of(cluster) if clients == "leaders" else None,
                        outstanding=outstanding,
                        seconds=options.seconds,
                        warmup_s=options.warmup,
                        cpu_seconds=cluster.cpu_seconds,
                    )
                    for _ in range(options.repetitions)
                ]
                rows.append(_row(operation, clients, outstanding, samples))
                print(_line(rows[-1]), flush=True)
    memory = ", ".join(f"{mib:.0f}" for mib in cluster.private_mib())
    print(f"private memory of the nodes afterwards: {memory} MiB")
    _write(rows, options.json)


def _write(rows: list[dict[str, object]], path: Path | None) -> None:
    if path:
        path.write_text(json.dumps(rows, indent=1) + "\n")


def _row(
    operation: str, clients: str, outstanding: int, samples: list[Sample]
) -> dict[str, object]:
    return {
        "operation": operation,
        "clients": clients,
        "outstanding": outstanding,
        "ops_s": statistics.median(sample.per_second for sample in samples),
        "ops_s_reps": [round(sample.per_second) for sample in samples],
        "p50_ms": statistics.median(sample.percentile_ms(50) for sample in samples),
        "p99_ms": statistics.median(sample.percentile_ms(99) for sample in samples),
        "errors": sum(sample.errors for sample in samples),
        "server_cpu_s_per_kop": statistics.median(
            1000 * sample.server_cpu_s / len(sample.latencies) for sample in samples
        ),
    }


def _line(row: dict[str, object]) -> str:
    return (
        f"{row['operation']:<10} {row['clients']:<10} {row['outstanding']:>11} {row['ops_s']:>9.0f}"
        f" {row['p50_ms']:>8.2f} {row['p99_ms']:>8.2f} {row['errors']:>7}"
        f" {row['server_cpu_s_per_kop']:>18.3f}"
    )


if __name__ == "__main__":
    main()
