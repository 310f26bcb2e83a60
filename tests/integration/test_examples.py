"""Each program of examples/, as a process of its own, against three nodes."""

import ast
import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from inspect import cleandoc
from pathlib import Path
from textwrap import dedent

import pytest

from bench.local_cluster import LocalCluster
from cluster.testing import EmbeddedCluster

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PROGRAMS = sorted(path.name for path in EXAMPLES.glob("*.py") if path.name != "__init__.py")


@pytest.fixture(scope="module")
def nodes() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster() as nodes:
        yield nodes


def documented(program: str) -> str:
    """What the program prints, as its first lines say."""
    text = ast.get_docstring(ast.parse((EXAMPLES / program).read_text()))
    _, found, printed = cleandoc(text or "").partition("\nPrints:\n\n")
    assert found, f"{program} does not say what it prints"
    return dedent(printed) + "\n"


@asynccontextmanager
async def running(program: str, endpoints: str) -> AsyncGenerator[Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-W", "error", f"examples/{program}", endpoints),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("program", PROGRAMS)
async def test_prints_what_it_says_also_the_second_time(
    nodes: EmbeddedCluster, program: str
) -> None:
    for _ in range(2):
        async with running(program, nodes.endpoints) as process:
            printed, errors = await process.communicate()
        assert (printed.decode(), errors.decode()) == (documented(program), "")
        assert process.returncode == 0


async def test_counters_are_right_when_a_node_is_killed(cluster: LocalCluster) -> None:
    async with running("counters.py", cluster.endpoints) as process:
        assert process.stdout is not None
        first = await process.stdout.readline()
        cluster.kill(2)
        rest, _ = await process.communicate()
    assert (first + rest).decode() == documented("counters.py")
    assert process.returncode == 0


def test_the_table_has_every_program() -> None:
    table = (EXAMPLES / "README.md").read_text()
    assert [name for name in PROGRAMS if f"[{name}]({name})" not in table] == []
