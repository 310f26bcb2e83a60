"""Short runs of a node that comes back in every way there is."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import cast

from bench.links import Received
from bench.measured_cluster import MeasuredCluster
from bench.recovery import SCENARIOS, RecoveryPlan, run_recovery
from bench.report import recovery_tables
from tests.bench.test_endurance import LITTLE_LOG

PARTITIONS = 3
PLAN = RecoveryPlan(
    keys=1_000, value_bytes=4_000, rate=200, missed_writes=9_000, window_s=0.5, settle_s=0.2
)
WINDOWS = ["before", "away", "back", "after"]


async def test_a_node_comes_back_in_every_way(tmp_path: Path) -> None:
    with MeasuredCluster(3, PARTITIONS, tmp_path, settings=LITTLE_LOG, keep=True) as cluster:
        rows = await run_recovery(cluster, PLAN, list(SCENARIOS))
    by_scenario = {cast(str, row["scenario"]): row for row in rows}
    assert list(by_scenario) == list(SCENARIOS)
    for scenario, row in by_scenario.items():
        windows = cast("list[dict[str, object]]", row["windows"])
        assert [each["window"] for each in windows] == [name for name in WINDOWS for _ in "pg"]
        assert all(each["ops_s"] for each in windows if each["window"] == "before"), scenario
        assert cast(float, row["ready_s"]) <= cast(float, row["level_s"])
    # So much was missed that the log of the others no longer has it.
    assert by_scenario["missed"]["by_snapshot"] == PARTITIONS
    assert by_scenario["repair"]["by_snapshot"] == PARTITIONS
    state_mb = PLAN.keys * PLAN.value_bytes / 1_000_000
    assert cast(float, by_scenario["repair"]["received_mb"]) > state_mb
    assert by_scenario["restart"]["by_snapshot"] == 0
    table = recovery_tables(rows)
    assert table.count("| repair |") == 1 + 2 * len(WINDOWS)


_RECEIVER = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as link:
    left = 50_000
    while left:
        left -= len(link.recv(left))
    print("got it", flush=True)
    sys.stdin.read()
"""


def test_what_a_process_receives_is_counted() -> None:
    """A process of its own: in this one the nodes of other tests may receive something too."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-c", _RECEIVER, str(server.getsockname()[1])]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            sender, (_, port) = server.accept()
            with sender:
                received = Received(process.pid, but_port=0)
                received.look()
                assert received.total == 0
                sender.sendall(b"x" * 50_000)
                assert process.stdout.readline() == b"got it\n"
                received.look()
                assert received.total == 50_000
                without = Received(process.pid, but_port=port)
                without.look()
                assert without.total == 0
                process.stdin.close()
