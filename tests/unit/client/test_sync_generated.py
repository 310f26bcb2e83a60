"""flo.sync is what scripts/generate_sync.py makes of the asynchronous client, all of it."""

import importlib
import inspect
import re
from pathlib import Path
from textwrap import dedent

import pytest

from scripts.generate_sync import CLASSES, NO_TWIN, ROOT, GenerateError, Row, generate

# What has no meaning for a program without an event loop.
ASYNCHRONOUS = re.compile(r"\b(await|async|asyncio|tasks?)\b|event loop's")


def class_of(module: str, name: str) -> type:
    found: object = getattr(importlib.import_module(module), name)
    assert isinstance(found, type)
    return found


def public_names(kind: type) -> set[str]:
    parts = kind.__mro__[:-1]
    names = {name for part in parts for name in vars(part) if not name.startswith("_")}
    return names - NO_TWIN


def signature_of(method: object) -> str:
    """With the twins of classes, and of asynchronous iterators, under the names of those."""
    assert callable(method)
    text = str(inspect.signature(method))
    for row in CLASSES:
        text = text.replace(f"{row.twin}.{row.name}", f"{row.module}.{row.name}")
    return re.sub(r"AsyncGenerator\[(.*), None\]", r"Iterator[\1]", text)


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
            assert signature_of(after) == signature_of(before), name


@pytest.mark.parametrize("row", CLASSES, ids=lambda row: row.name)
def test_docstrings_speak_of_blocking_calls(row: Row) -> None:
    twin = class_of(row.twin, row.name)
    for name in public_names(twin):
        text = inspect.getdoc(getattr(twin, name)) or ""
        assert text, name
        assert not ASYNCHRONOUS.search(text), f"{name}: add it to DOCSTRINGS or REWRITES\n{text}"


def test_context_managers_have_plain_twins() -> None:
    for row in CLASSES:
        source, twin = class_of(row.module, row.name), class_of(row.twin, row.name)
        assert hasattr(source, "__aexit__") == hasattr(twin, "__exit__"), row.name


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
        ('def a(self, x: int, /) -> None:\n    """Does."""', "signature"),
        ('@staticmethod\ndef a() -> None:\n    """Does."""', "decorated"),
        ('def a(self) -> Awaitable[int]:\n    """Does."""', "async def"),
        ("async def a(self) -> None: ...", "docstring"),
    ],
)
def test_what_it_does_not_know_stops_it(tmp_path: Path, method: str, complaint: str) -> None:
    with pytest.raises(GenerateError, match=complaint):
        generated(tmp_path, method)


def test_what_a_class_inherits_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text(
        "from numbers import Number\n\n\nclass Part:\n"
        '    async def count(self, first: Number) -> int:\n        """Counts."""\n'
    )
    (tmp_path / "things.py").write_text(
        'from parts import Part\n\n\nclass Things(Part):\n    """Things."""\n\n'
        '    async def read(self) -> int:\n        """Reads."""\n'
    )
    row = Row("things", "Things", "sync_things")
    text = generate((row,), tmp_path)[Path("sync_things.py")]
    assert "from numbers import Number" in text
    assert "def count(self, first: Number) -> int:" in text
    assert "def read(self) -> int:" in text


def test_any_arguments_are_passed_on(tmp_path: Path) -> None:
    text = generated(
        tmp_path,
        '''
        async def read(self, *names: str, limit: int = 3, **more: int) -> int:
            """Reads."""
        ''',
    )
    assert "self._wrapped.read(*names, limit=limit, **more)" in text


def test_what_a_call_gives_is_a_twin_too(tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text(
        'class Part:\n    """A part."""\n\n'
        '    async def __aenter__(self) -> "Part": ...\n'
        "    async def __aexit__(self, *_: object) -> None: ...\n"
    )
    (tmp_path / "things.py").write_text(
        'from parts import Part\n\n\nclass Things:\n    """Things."""\n\n'
        '    async def list(self) -> list[int]:\n        """Lists."""\n\n'
        '    async def part(self) -> Part:\n        """Gives a part."""\n'
    )
    rows = (Row("parts", "Part", "sync_parts"), Row("things", "Things", "sync_things"))
    found = generate(rows, tmp_path)
    things = found[Path("sync_things.py")]
    assert "from sync_parts import Part" in things
    assert "return Part(self._runner.run(self._wrapped.part()), self._runner)" in things
    assert things.index("def part") < things.index("def list")
    assert (
        "self._runner.run(self._wrapped.__aexit__(kind, error, traceback))"
        in found[Path("sync_parts.py")]
    )


def test_what_a_block_gets_is_a_twin_too(tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text('class Part:\n    """A part."""\n')
    source = (
        'from parts import Part\n\n\nclass Block:\n    """A block."""\n\n'
        "    async def __aenter__(self) -> Part: ...\n"
        "    async def __aexit__(self, *_: object) -> None: ...\n"
    )
    (tmp_path / "blocks.py").write_text(source)
    block, part = Row("blocks", "Block", "sync_blocks"), Row("parts", "Part", "sync_parts")
    text = generate((block, part), tmp_path)[Path("sync_blocks.py")]
    assert "from sync_parts import Part" in text
    assert "def __enter__(self) -> Part:" in text
    assert "return Part(self._runner.run(self._wrapped.__aenter__()), self._runner)" in text
    with pytest.raises(GenerateError, match="__aenter__ returns Part"):
        generate((block,), tmp_path)
