"""The repository checks its own manners. A reason in the file lifts a limit: `tidy: long ...`."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("flo", "cluster", "bench")
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
PARAMETERS_MAX = 5
OFFICIAL = {"group_claim"}
"""Their parameters are those of the official client."""
LIFTED = re.compile(r"#\s*tidy: long\b.+")

PURE = ("cluster/state", "flo/wire")
"""What computes, and never looks around."""
IMPURE_MODULES = {"asyncio", "datetime", "os", "random", "secrets", "socket", "time", "uuid"}


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in sources(*PACKAGES):
        yield path, ast.parse(path.read_text(), str(path))


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def imported(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_modules_are_not_too_long() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in sources(*PACKAGES)
        if (count := len(path.read_text().splitlines())) > MODULE_LINES_MAX
        and not LIFTED.search(path.read_text())
    }
    assert not long, f"more than {MODULE_LINES_MAX} lines; do they hold two things? {long}"


def test_functions_are_not_too_long() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}"
        for path, tree in trees()
        for function in functions(tree)
        if (function.end_lineno or 0) - function.lineno >= FUNCTION_LINES_MAX
    ]
    assert not long


def test_functions_take_few_positional_parameters() -> None:
    many: list[str] = []
    for path, tree in trees():
        for function in functions(tree):
            names = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
            count = len([name for name in names if name not in ("self", "cls")])
            if count > PARAMETERS_MAX and function.name not in OFFICIAL:
                many.append(f"{path.relative_to(ROOT)}:{function.lineno} {function.name}")
    assert not many


@pytest.mark.parametrize("folder", PURE)
def test_what_computes_does_not_look_around(folder: str) -> None:
    for path in sources(folder):
        found = imported(ast.parse(path.read_text())) & IMPURE_MODULES
        assert not found, f"{path.relative_to(ROOT)} imports {sorted(found)}"


def test_the_consensus_library_has_one_door() -> None:
    for path, tree in trees():
        knows = any(name.split(".")[0] == "pysyncobj" for name in imported(tree))
        assert not knows or path.is_relative_to(ROOT / "cluster" / "raft"), path


def test_nothing_is_pickled() -> None:
    for path, tree in trees():
        assert not imported(tree) & {"pickle", "marshal", "shelve"}, path


def test_only_the_command_line_reads_the_environment() -> None:
    for path, tree in trees():
        if path.is_relative_to(ROOT / "flo" / "cli"):
            continue
        reads = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
        ]
        assert not reads, path


def test_no_module_is_dead() -> None:
    """Every module is imported by another one, or is a program."""
    used: set[str] = set()
    for path in sources(*PACKAGES, "tests"):
        used |= imported(ast.parse(path.read_text()))
    dead: list[str] = []
    for path in sources(*PACKAGES):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] in ("__init__", "__main__"):
            continue
        if ".".join(parts) not in used:
            dead.append(".".join(parts))
    assert not dead


def test_the_product_names_no_machine_and_no_workplace() -> None:
    words = re.compile(r"(^|[^\w.])/(root|work|home)/")
    for path in sources(*PACKAGES, "tests"):
        if path == Path(__file__):
            continue
        assert not words.search(path.read_text()), path
