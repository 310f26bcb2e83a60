"""Running the driver with either package."""

import fcntl
import json
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast

from bench.apart import run_apart
from bench.local_cluster import LocalCluster

Package: TypeAlias = Literal["official", "ours"]
PACKAGES: tuple[Package, ...] = ("official", "ours")

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"
_PATIENCE_S = 100


BySeen: TypeAlias = dict[str, dict[str, object]]
"""By package, what each scenario saw."""


@dataclass(frozen=True)
class Runs:
    """Runs scenarios with both packages, once for all the workers of one test run."""

    official_sdk: Path
    own: Path
    """A directory of this worker."""
    shared: Path
    """A directory of all of them."""

    def of(self, name: str, scenarios: Iterable[str]) -> BySeen:
        """What the scenarios saw; they are run the first time that somebody asks for `name`."""
        with (self.shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kept = self.shared / f"{name}.json"
            if not kept.exists():
                kept.write_text(json.dumps(self._run(self.own / name, scenarios)))
            return cast(BySeen, json.loads(kept.read_text()))

    def _run(self, directory: Path, scenarios: Iterable[str]) -> BySeen:
        directory.mkdir()
        with LocalCluster(nodes=3, partitions=8, parent_dir=directory, keep=True) as running:
            return {
                package: run_driver(package, self.official_sdk, running.endpoints, *scenarios)
                for package in PACKAGES
            }


def start_driver(
    package: Package, official_sdk: Path, endpoints: str, *scenarios: str
) -> "subprocess.Popen[str]":
    """Starts the driver with a package on its path."""
    where = official_sdk if package == "official" else ROOT
    return start_program("driver", where, endpoints, *scenarios)


def start_program(name: str, package: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Starts one of the programs with a package on its path."""
    return run_apart([package, PROGRAMS.parent], "-m", f"programs.{name}", *arguments)


def run_driver(
    package: Package, official_sdk: Path, endpoints: str, *scenarios: str
) -> dict[str, object]:
    """What each scenario saw, and as "package" the version and file of the package."""
    return finish(start_driver(package, official_sdk, endpoints, *scenarios))


def finish(driver: "subprocess.Popen[str]") -> dict[str, object]:
    """What a driver that asks for nothing has seen."""
    with driver:
        try:
            printed, complaints = driver.communicate(timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired:
            driver.kill()
            raise
    assert driver.returncode == 0, complaints
    return _rows(printed.splitlines())


def run_with_faults(driver: "subprocess.Popen[str]", inject: Callable[[str], None]) -> object:
    """What one scenario saw; `inject` does what it asks for on the way."""
    assert driver.stdin is not None
    assert driver.stdout is not None
    lines: list[str] = []
    with driver:
        try:
            for line in driver.stdout:
                wish = json.loads(line).get("please")
                if wish is None:
                    lines.append(line)
                    continue
                inject(wish)
                driver.stdin.write("done\n")
                driver.stdin.flush()
        except BaseException:
            driver.kill()
            raise
        assert driver.stderr is not None
        complaints = driver.stderr.read()
    assert driver.returncode == 0, complaints
    rows = _rows(lines)
    del rows["package"]
    (seen,) = rows.values()
    return seen


def _rows(lines: list[str]) -> dict[str, object]:
    rows: dict[str, object] = {}
    for line in lines:
        rows |= json.loads(line)
    return rows
