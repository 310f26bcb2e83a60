"""The fixtures in a project of somebody else: a run of pytest in a directory of its own."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from cluster.testing import EmbeddedCluster
from flo import pytest_plugin

ROOT = Path(__file__).parents[2]
# Far more than it takes: only for a run that hangs.
TIMEOUT_S = 100
# Without it pytest-asyncio warns, and warnings are errors.
ASYNCIO = ("-o", "asyncio_default_fixture_loop_scope=function")


def run_pytest(directory: Path, program: str, *arguments: str) -> str:
    """Runs the tests in `program`, which must pass with warnings as errors; what pytest said."""
    (directory / "test_program.py").write_text(dedent(program))
    # Installed or not: pytest takes the plugin once.
    command = [sys.executable, "-m", "pytest", "-p", pytest_plugin.__name__, "-W", "error"]
    result = subprocess.run(
        [*command, "-p", "no:cacheprovider", *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_one_cluster_serves_tests_of_every_kind(tmp_path: Path) -> None:
    program = """
        import asyncio
        import uvloop
        import pytest

        async def fresh(flo_cluster, namespace):
            async with flo_cluster.client(namespace=namespace) as client:
                return await client.kv.put("a", b"1") and await client.kv.incr("n")

        def test_without_a_loop(flo_cluster, flo_namespace):
            assert asyncio.run(fresh(flo_cluster, flo_namespace)).value == 1

        def test_with_a_loop_of_its_own(flo_cluster, flo_namespace):
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                assert runner.run(fresh(flo_cluster, flo_namespace)).value == 1

        @pytest.mark.parametrize("number", [1, 2])
        async def test_in_a_coroutine(flo_cluster, flo_namespace, number):
            assert (await fresh(flo_cluster, flo_namespace)).value == 1

        def test_endpoints(flo_cluster):
            assert len(set(flo_cluster.endpoints.split(","))) == 3
        """
    assert "5 passed" in run_pytest(tmp_path, program, *ASYNCIO, "-o", "asyncio_mode=auto")


def test_the_fixtures_need_no_other_plugin(tmp_path: Path) -> None:
    program = """
        import asyncio

        def test_a_put(flo_cluster, flo_namespace):
            async def main():
                async with flo_cluster.client(flo_namespace) as client:
                    await client.kv.put("a", b"1")
            asyncio.run(main())
        """
    others = ("asyncio", "anyio", "randomly", "timeout", "xdist")
    without = [argument for name in others for argument in ("-p", f"no:{name}")]
    assert "1 passed" in run_pytest(tmp_path, program, *without)


def test_each_worker_has_a_cluster(tmp_path: Path) -> None:
    program = """
        import pathlib
        import pytest

        @pytest.mark.parametrize("number", range(4))
        def test_it_is_there(flo_cluster, worker_id, number):
            pathlib.Path(worker_id).write_text(flo_cluster.endpoints)
        """
    assert "4 passed" in run_pytest(tmp_path, program, *ASYNCIO, "-n", "2")
    endpoints = [path.read_text() for path in tmp_path.glob("gw*")]
    assert len(endpoints) == 2
    assert len({each for worker in endpoints for each in worker.split(",")}) == 6


def test_the_plugin_alone_loads_no_server() -> None:
    program = "import sys, flo.pytest_plugin; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    loaded = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = {name.split(".")[0] for name in loaded.split()}
    assert "flo" in names
    assert not names & {"cluster", "lmdb", "pysyncobj", "uvloop", "click"}


async def test_a_node_is_taken_away_and_brought_back() -> None:
    with EmbeddedCluster() as cluster:
        async with cluster.client(timeout_ms=20_000) as client:
            for node_id in (1, 2, 3):
                cluster.stop_node(node_id)
                cluster.stop_node(node_id)
                await client.kv.incr("n")
                cluster.start_node(node_id)
                cluster.start_node(node_id)
                cluster.wait_ready()
            assert (await client.kv.incr("n")).value == 4
        with pytest.raises(ValueError, match="the nodes are"):
            cluster.stop_node(4)


def test_a_cluster_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with EmbeddedCluster() as cluster:
        assert len(list(tmp_path.iterdir())) == 1
        cluster.stop_node(1)
    assert not list(tmp_path.iterdir())
