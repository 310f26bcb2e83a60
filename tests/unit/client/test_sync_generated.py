"""flo.sync is what scripts/generate_sync.py makes of the asynchronous client, all of it."""

import importlib
import inspect
import re
from pathlib import Path
from textwrap import dedent

import pytest

from scripts.generate_sync import CLASSES, ROOT, GenerateError, Row, generate

# What has no meaning for a program without an event loop.
ASYNCHRONOUS = re.compile(r"\b(await|async|asyncio|tasks?)\b|event loop's")


def class_of(module: str, name: str) -> type:
    found: object = getattr(importlib.import_module(module), name)
    assert isinstance(found, type)
    return found


def public_names(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


def test_the_generated_modules_are_up_to_date() -> None:
    for path, text in generate().items():
        assert (ROOT / path).read_text() == text, f"{path} is stale: run `make generate`"


@pytest.mark.parametrize("row", CLASSES, ids=lambda row: row.name)
def test_every_public_name_has_a_twin_with_the_same_signature(row: Row) -> None:
    source, twin = class_of(row.module, row.name), class_of(row.twin, row.name)
    assert public_names(twin) == public_names(source)
    for name in public_names(source):
        before, after = inspect.getattr_static(source, name), inspect.getattr_static(twin, name)
        assert isinstance(after, property) == isinstance(before, property)
        if callable(before):
            assert callable(after)
            assert not inspect.iscoroutinefunction(after)
            assert inspect.signature(after) == inspect.signature(before), name


@pytest.mark.parametrize("row", CLASSES, ids=lambda row: row.name)
def test_docstrings_speak_of_blocking_calls(row: Row) -> None:
    twin = class_of(row.twin, row.name)
    for name in public_names(twin):
        text = inspect.getdoc(getattr(twin, name)) or ""
        assert text, name
        assert not ASYNCHRONOUS.search(text), f"{name}: add it to DOCSTRINGS or REWRITES\n{text}"


def test_the_client_takes_the_same_arguments() -> None:
    row = CLASSES[0]
    source, twin = class_of(row.module, row.name), class_of(row.twin, row.name)
    assert inspect.signature(twin) == inspect.signature(source)


def generated(directory: Path, body: str) -> str:
    """What becomes of a class with these methods."""
    source = 'from collections.abc import AsyncGenerator\n\n\nclass Things:\n    """Things."""\n\n'
    indented = "".join(f"    {line}\n" for line in dedent(body).strip().splitlines())
    (directory / "things.py").write_text(source + indented)
    row = Row("things", "Things", "sync_things")
    return generate((row,), directory)[Path("sync_things.py")]


def test_an_asynchronous_generator_becomes_an_iterator(tmp_path: Path) -> None:
    text = generated(
        tmp_path,
        '''
        def read(self, name: str, *, limit: int = 3) -> AsyncGenerator[int, None]:
            """Reads.

            Example:
                async for number in things.read("a"):
                    await show(number)
            """
        ''',
    )
    assert "from collections.abc import Iterator" in text
    assert "def read(self, name: str, *, limit: int = 3) -> Iterator[int]:" in text
    assert "return self._runner.iterate(self._wrapped.read(name, limit=limit))" in text
    assert 'for number in things.read("a"):\n                show(number)' in text


def test_a_plain_method_is_called_where_the_client_runs(tmp_path: Path) -> None:
    text = generated(
        tmp_path,
        '''
        def count(self, of: str) -> int:
            """Counts."""
        def forget(self) -> None:
            """Forgets."""
        ''',
    )
    assert "return self._runner.call(lambda: self._wrapped.count(of))" in text
    assert "        self._runner.call(self._wrapped.forget)" in text


@pytest.mark.parametrize(
    ("method", "complaint"),
    [
        ('@staticmethod\ndef a() -> None:\n    """Does."""', "decorated"),
        ('def a(self) -> Awaitable[int]:\n    """Does."""', "async def"),
        ('async def a(self, *names: str) -> None:\n    """Does."""', "signature"),
        ("async def a(self) -> None: ...", "docstring"),
    ],
)
def test_what_it_does_not_know_stops_it(tmp_path: Path, method: str, complaint: str) -> None:
    with pytest.raises(GenerateError, match=complaint):
        generated(tmp_path, method)
