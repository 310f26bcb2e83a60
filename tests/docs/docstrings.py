"""The examples in docstrings: the indented code below a line `Example:`."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import TypeAlias

from tests.docs.pages import ROOT

MARK = "Example:"
_Documented: TypeAlias = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Example:
    """The code of one example; `line` is that of its first line in the source."""

    path: Path
    name: str
    line: int
    text: str

    @property
    def id(self) -> str:
        return f"{self.path.relative_to(ROOT).as_posix()}:{self.line}:{self.name}"


def examples(path: Path) -> Iterator[Example]:
    """All examples of a module, in their order."""
    tree = ast.parse(path.read_text())
    for name, node in _documented(tree, ""):
        yield from _examples_of(path, name, node)


def all_examples() -> list[Example]:
    paths = (path for package in ("flo", "cluster") for path in (ROOT / package).rglob("*.py"))
    return [example for path in sorted(paths) for example in examples(path)]


def _documented(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str
) -> Iterator[tuple[str, _Documented]]:
    yield name or "module", node
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _documented(child, f"{name}.{child.name}" if name else child.name)


def _examples_of(path: Path, name: str, node: _Documented) -> Iterator[Example]:
    match node.body:
        case [ast.Expr(value=ast.Constant(value=str(text), lineno=first)), *_]:
            pass
        case _:
            return
    # As written, not as the string reads: a backslash must not shift the lines.
    lines = text.splitlines()
    for at, line in enumerate(lines):
        if line.strip() == MARK:
            margin = len(line) - len(line.lstrip())
            code = _indented(lines[at + 1 :], margin)
            assert code.strip(), f"{path}, {name}: nothing stands below {MARK}"
            yield Example(path, name, first + at + 1, dedent(code))


def _indented(lines: list[str], margin: int) -> str:
    """The first lines that are empty, or further right than the margin."""
    code: list[str] = []
    for line in lines:
        if line.strip() and len(line) - len(line.lstrip()) <= margin:
            break
        code.append(line)
    return "\n".join(code).rstrip() + "\n"
