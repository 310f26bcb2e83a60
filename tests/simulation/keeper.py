"""What outlives a run, in `.simulation`: plans that failed, and how much was simulated."""

import json
import os
import subprocess
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import TypedDict, cast

from tests.simulation.plan import Plan, from_text, to_text
from tests.simulation.shrink import Failure, Shrinker

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".simulation"
_SHOWN = 30
_SIMULATED = ("cluster", "flo/wire", "tests/simulation", "tests/histories")


def keep(plan: Plan, failure: Failure, *, budget_s: float, folder: Path = FOLDER) -> str:
    """Shrinks a plan that failed and stores it, where every later run tries it first. Says what
    was found, for people; the seed comes first."""
    first = f"seed {plan.seed} with {plan.nodes} nodes: {failure}"
    path = _store(plan, failure, folder)
    shrinker = Shrinker(plan, failure, budget_s=budget_s)
    small = shrinker.shrink()
    _store(small, shrinker.failure, folder)
    lines = [f"  step {each.step}: {each.fault}" for each in small.events]
    if len(lines) > _SHOWN:
        lines[:-_SHOWN] = [f"  {len(lines) - _SHOWN} more before"]
    faults = "\n".join(lines)
    return (
        f"{first}\nTo see it again: python -m tests.simulation --seed {plan.seed}\n"
        f"The smallest that fails alike, after {shrinker.tried} tries: {small}\n{faults}\n"
        f"  {shrinker.failure}\nKept in {path}: it is tried first from now on"
    )


def kept(folder: Path = FOLDER) -> Iterator[tuple[Path, Plan]]:
    """The plans that failed once, oldest first."""
    paths = sorted((folder / "failing").glob("*.json"), key=lambda path: path.stat().st_mtime)
    for path in paths:
        yield path, from_text(path.read_text())


def _store(plan: Plan, failure: Failure, folder: Path) -> Path:
    """One file for each seed and size: whoever comes last has the smaller plan."""
    path = folder / "failing" / f"{plan.seed}-{plan.nodes}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(to_text(plan, str(failure)))
    temporary.replace(path)
    return path


class _Row(TypedDict):
    sources: str
    commit: str
    runs: int
    cpu_s: float


class Tally:
    """Runs and processor time, added up over all calls for the same sources."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._path = folder / "tally.jsonl"
        self._sources = _fingerprint()
        self._commit = _commit()

    def add(self, runs: int, cpu_s: float) -> None:
        """Notes so many runs without a failure; a killed process loses what it did not note."""
        row: _Row = {
            "sources": self._sources,
            "commit": self._commit,
            "runs": runs,
            "cpu_s": round(cpu_s, 2),
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def __str__(self) -> str:
        rows = [each for each in self._rows() if each["sources"] == self._sources]
        runs, cpu_s = sum(each["runs"] for each in rows), sum(each["cpu_s"] for each in rows)
        commits = ", ".join(dict.fromkeys(each["commit"] for each in rows))
        return f"{runs} runs in {cpu_s / 60:.1f} CPU minutes with these sources ({commits})"

    def _rows(self) -> list[_Row]:
        if not self._path.exists():
            return []
        return [cast(_Row, json.loads(line)) for line in self._path.read_text().splitlines()]


def _fingerprint() -> str:
    """Of all that decides how a run goes."""
    digest = blake2b(digest_size=8)
    for folder in _SIMULATED:
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()


def _commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(
            ("git", *words), cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout.strip()

    try:
        changed = " with changes" if git("status", "--porcelain", *_SIMULATED) else ""
        return git("rev-parse", "--short", "HEAD") + changed
    except (OSError, subprocess.CalledProcessError):
        return "no commit"
