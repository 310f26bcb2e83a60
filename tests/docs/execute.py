"""Runs the code of documentation, and compares what it prints with what the text says it prints.

A line such as `print(name)  # Ada` says so in its comment, where `...` stands for anything.
"""

import ast
import asyncio
import inspect
import re
from dataclasses import dataclass, field
from dis import get_instructions
from types import CodeType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Coroutine

_PRINTED = re.compile(r"^\s*print\(.*\)  # (.*)$")


def like(expected: str, actual: str) -> bool:
    """Whether two texts are the same, but for `...` in a line, or in the place of lines."""
    pattern = ""
    for line in expected.splitlines():
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += re.escape(line.rstrip()).replace(r"\.\.\.", ".*") + r"[ ]*\n"
    return re.fullmatch(pattern, actual.rstrip("\n") + "\n" if actual else "") is not None


@dataclass
class Printer:
    """Stands in for `print` in the code of one file."""

    expected: dict[int, str]
    """By line: what is printed there."""
    seen: set[int] = field(default_factory=set[int])

    @classmethod
    def of(cls, text: str, first_line: int) -> "Printer":
        lines = enumerate(text.splitlines(), start=first_line)
        found = {number: _PRINTED.match(line) for number, line in lines}
        return cls({number: match[1] for number, match in found.items() if match})

    def print(self, *values: object, **_: object) -> None:
        frame = inspect.currentframe()
        assert frame is not None
        assert frame.f_back is not None
        line = frame.f_back.f_lineno
        text = " ".join(str(value) for value in values)
        if line in self.expected:
            self.seen.add(line)
            assert like(self.expected[line], text), (
                f"line {line} prints {text!r}, and says that it prints {self.expected[line]!r}"
            )

    def check_complete(self) -> None:
        missed = sorted(self.expected.keys() - self.seen)
        assert not missed, f"lines {missed} say what they print, and do not print"


class Code:
    """A piece of code, run in a namespace of its own. Its top level may await, as in a REPL."""

    def __init__(self, text: str, *, filename: str, first_line: int) -> None:
        tree = ast.parse("\n" * (first_line - 1) + text, filename)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code = cast(CodeType, compile(tree, filename, "exec", flags=flags, dont_inherit=True))
        self._code = code
        self._printer = Printer.of(text, first_line)
        self.wanted = _free_names(code)
        """Names that it uses and does not set."""

    def run(self, **given: object) -> None:
        """Raises what the code raises, AssertionError when it does not print what it says."""
        asynchronous = self._code.co_flags & inspect.CO_COROUTINE
        if asynchronous:
            asyncio.run(self.run_in_loop(**given))
        else:
            exec(self._code, self._namespace(given))
            self._printer.check_complete()

    async def run_in_loop(self, **given: object) -> None:
        """The same in the running event loop."""
        result: object = eval(self._code, self._namespace(given))
        if inspect.iscoroutine(result):
            await cast("Coroutine[None, None, None]", result)
        self._printer.check_complete()

    def _namespace(self, given: dict[str, object]) -> dict[str, object]:
        return {"__name__": "__main__", **given, "print": self._printer.print}


def _free_names(code: CodeType) -> set[str]:
    """Global names that are read somewhere, and never set."""
    read: set[str] = set()
    written: set[str] = set()
    for instruction in get_instructions(code):
        if instruction.opname in ("LOAD_NAME", "LOAD_GLOBAL"):
            read.add(instruction.argval)
        elif instruction.opname == "STORE_NAME":
            written.add(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            read |= _free_names(constant)
    return read - written
