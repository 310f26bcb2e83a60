"""`python -m bench`: KV put and get, queues, streams and transactions, long queues, failover,
endurance, recovery, and what a call costs the client, against a cluster that it starts.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from bench.client_cost import run_client_cost
from bench.cluster_view import leaders_of, wait_until_led
from bench.dialogues import OPERATIONS, RanDryError, Stage, run_dialogues
from bench.endurance import run_endurance
from bench.failover import run_failover
from bench.load import Sample, Workload, preload, run_load
from bench.local_cluster import LocalCluster
from bench.measured_cluster import MeasuredCluster
from bench.plot import CannotDrawError, check_can_draw, draw
from bench.queue_length import QueueLengthPlan, run_queue_length
from bench.recovery import SCENARIOS, RecoveryPlan, run_recovery
from bench.report import (
    PageError,
    check_marks,
    endurance_table,
    recovery_tables,
    write_between_marks,
)

_TITLE = (
    f"{'operation':<10} {'clients':<10} {'outstanding':>11} {'ops/s':>9} {'p50 ms':>8}"
    f" {'p99 ms':>8} {'errors':>7} {'server CPU s/1000':>18}"
)


_KEYS, _ENDURANCE_KEYS = 100_000, 20_000
_OUTSTANDING, _ENDURANCE_OUTSTANDING = [1, 64, 512], 256


def main() -> None:
    options = _parse()
    _refuse_what_cannot_end_well(options)
    with MeasuredCluster(
        options.nodes, options.partitions, options.dir, settings=tuple(options.setting)
    ) as cluster:
        if options.failover:
            uvloop.run(run_failover(cluster, options.failover))
        elif options.client_cost:
            rows = run_client_cost(
                cluster, operations=options.client_cost, repetitions=options.repetitions
            )
            _write(rows, options.json)
        elif options.workload:
            uvloop.run(_run_workloads(cluster, options))
        elif options.queue_length:
            _lengthen(cluster, options)
        elif options.endurance:
            _endure(cluster, options)
        elif options.recovery is not None:
            _recover(cluster, options)
        else:
            uvloop.run(_run(cluster, options))


def _endure(cluster: MeasuredCluster, options: argparse.Namespace) -> None:
    rows = uvloop.run(
        run_endurance(
            cluster,
            minutes=options.endurance,
            keys=options.keys or _ENDURANCE_KEYS,
            value_bytes=options.value_bytes,
            outstanding=(options.outstanding or [_ENDURANCE_OUTSTANDING])[0],
        )
    )
    _write(rows, options.json)
    table = endurance_table(rows)
    print(table)
    if options.page:
        write_between_marks(options.page, "endurance", table)
    if options.plot:
        draw(rows, options.plot)


def _lengthen(cluster: MeasuredCluster, options: argparse.Namespace) -> None:
    plan = QueueLengthPlan(
        lengths=tuple(options.queue_length),
        payload_bytes=options.value_bytes,
        outstanding=(options.outstanding or [QueueLengthPlan.outstanding])[0],
        warmup_s=options.warmup,
        seconds=options.seconds,
        repetitions=options.repetitions,
    )
    try:
        _write(uvloop.run(run_queue_length(cluster, plan)), options.json)
    except RanDryError:
        sys.exit("bench: a queue was empty: make it longer, or give less --outstanding")


def _refuse_what_cannot_end_well(options: argparse.Namespace) -> None:
    """Before the run, which is long."""
    try:
        if options.plot:
            check_can_draw()
        if options.page:
            check_marks(options.page, "endurance" if options.endurance else "recovery")
    except (CannotDrawError, PageError) as error:
        sys.exit(f"bench: {error}")


def _recover(cluster: MeasuredCluster, options: argparse.Namespace) -> None:
    plan = RecoveryPlan(
        keys=options.keys or RecoveryPlan.keys,
        value_bytes=options.value_bytes,
        rate=options.rate,
        missed_writes=options.missed_writes,
        window_s=options.window,
    )
    rows = uvloop.run(run_recovery(cluster, plan, options.recovery or list(SCENARIOS)))
    _write(rows, options.json)
    if options.page:
        write_between_marks(options.page, "recovery", recovery_tables(rows))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument(
        "--keys", type=int, help="100000; of --endurance 20000, of --recovery 1000000"
    )
    parser.add_argument("--value-bytes", type=int, default=128)
    parser.add_argument(
        "--outstanding",
        type=_numbers,
        help="1,64,512; of --endurance 256 over all partitions, of --queue-length 64",
    )
    parser.add_argument("--operations", type=lambda text: text.split(","), default=["put", "get"])
    parser.add_argument(
        "--workload",
        nargs="+",
        choices=list(OPERATIONS),
        metavar="NAME",
        help=f"measure these instead: {', '.join(OPERATIONS)}; --keys is what is there to take",
    )
    parser.add_argument(
        "--clients", type=lambda text: text.split(","), default=["leaders", "spread"]
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="of a measured window")
    parser.add_argument("--warmup", type=float, default=1.0, help="seconds before it")
    parser.add_argument("--repetitions", type=int, default=3, help="the median is reported")
    parser.add_argument("--dir", type=Path, help="where the data directories are made")
    parser.add_argument("--setting", action="append", default=[], help="FLO_...=... for the nodes")
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
    parser.add_argument(
        "--queue-length",
        type=_numbers,
        metavar="MESSAGES",
        help="dequeue and acknowledge with so many in the queue instead: 1000,1000000",
    )
    _add_long_ones(parser)
    return parser.parse_args()


def _add_long_ones(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--endurance", type=float, metavar="MINUTES", help="puts for so long, looked at each second"
    )
    parser.add_argument("--plot", type=Path, help="draw --endurance to this .svg or .png")
    parser.add_argument(
        "--recovery",
        nargs="*",
        choices=list(SCENARIOS),
        metavar="SCENARIO",
        help=f"a node that comes back: {', '.join(SCENARIOS)}; all of them, in this order",
    )
    parser.add_argument("--rate", type=int, default=RecoveryPlan.rate, help="requests a second")
    parser.add_argument("--missed-writes", type=int, default=RecoveryPlan.missed_writes)
    parser.add_argument("--window", type=float, default=RecoveryPlan.window_s, help="seconds")
    parser.add_argument("--page", type=Path, help="also write tables between its marks")


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


async def _run(cluster: LocalCluster, options: argparse.Namespace) -> None:
    await wait_until_led(cluster)
    addresses = {node: ("127.0.0.1", port) for node, port in cluster.client_ports.items()}
    keys = options.keys or _KEYS
    puts = Workload.puts(keys=keys, value_bytes=options.value_bytes, partitions=options.partitions)
    workloads = {
        "put": puts,
        "get": Workload.gets(keys=keys, partitions=options.partitions),
    }
    print(
        f"{options.nodes} nodes, {options.partitions} partitions, {keys} keys,"
        f" {options.value_bytes}-byte values, every write synced before it is acknowledged"
    )
    print(_TITLE, flush=True)
    await preload(addresses, puts, await leaders_of(cluster))
    rows: list[dict[str, object]] = []
    for operation in options.operations:
        for clients in options.clients:
            for outstanding in options.outstanding or _OUTSTANDING:
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


async def _run_workloads(cluster: MeasuredCluster, options: argparse.Namespace) -> None:
    await wait_until_led(cluster)
    print(
        f"{options.nodes} nodes, {options.partitions} partitions, {options.value_bytes}-byte"
        " payloads; an operation is all its requests, and takes what its name says"
    )
    print(_TITLE, flush=True)
    rows: list[dict[str, object]] = []
    for name in options.workload:
        for outstanding in options.outstanding or _OUTSTANDING:
            samples = [
                await _workload_sample(cluster, options, name, outstanding)
                for _ in range(options.repetitions)
            ]
            rows.append(_row(name, "leaders", outstanding, samples))
            print(_line(rows[-1]), flush=True)
    _write(rows, options.json)


async def _workload_sample(
    cluster: MeasuredCluster, options: argparse.Namespace, name: str, outstanding: int
) -> Sample:
    operation = OPERATIONS[name]
    try:
        return await run_dialogues(
            Stage(cluster.addresses, await leaders_of(cluster), bytes(options.value_bytes)),
            operation,
            outstanding=outstanding,
            stock=(options.keys or _KEYS) * min(operation.size, 4),
            window_s=(options.warmup, options.seconds),
            cpu_seconds=cluster.cpu_seconds,
        )
    except RanDryError:
        sys.exit("bench: all that was there was taken: give more --keys or fewer --seconds")


def _write(rows: Sequence[object], path: Path | None) -> None:
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
