"""The harness finds what is wrong: a test that cannot fail would prove nothing."""

import asyncio
from pathlib import Path
from textwrap import dedent

import pytest

from tests.docs.conftest import Site
from tests.docs.console import Command, commands, run_command
from tests.docs.docstrings import examples
from tests.docs.execute import Code, like
from tests.docs.pages import ROOT, Block, anchors, blocks, links


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ("hello", "hello\n"),
        ("version ...", "version 17\n"),
        ("a\n...\nc", "a\nb1\nb2\nc\n"),
        ("a\n...\nc", "a\nc\n"),
        ("...\nc", "a\nb\nc"),
        ("a\n...", "a\n"),
    ],
)
def test_dots_stand_for_anything(expected: str, actual: str) -> None:
    assert like(expected, actual)


@pytest.mark.parametrize(
    ("expected", "actual"),
    [("hello", "hello there\n"), ("version ...", "v 1"), ("a\n...\nc", "a\nb\n"), ("a", "a\nb\n")],
)
def test_what_is_not_alike(expected: str, actual: str) -> None:
    assert not like(expected, actual)


def run(text: str, **given: object) -> None:
    Code(dedent(text).lstrip(), filename="page.md", first_line=10).run(**given)


def test_what_is_printed_must_be_what_the_comment_says() -> None:
    run("for number in (1, 2):\n    print('found', number)  # found ...\n")
    with pytest.raises(AssertionError, match="line 11 prints '3'"):
        run("number = 3\nprint(number)  # 4\n")
    with pytest.raises(AssertionError, match=r"lines \[11\] say"):
        run("if False:\n    print(1)  # 1\n")


def test_errors_of_the_code_are_errors() -> None:
    with pytest.raises(ZeroDivisionError):
        run("1 / 0")
    with pytest.raises(NameError):
        run("await nothing()")


def test_code_may_await_and_says_what_it_needs() -> None:
    text = "await asyncio.sleep(0)\nasync def use(client):\n    print(client)\nkept = 1\n"
    assert Code(text, filename="x", first_line=1).wanted == {"asyncio", "print"}
    assert "client" in Code(text + "await use(client)", filename="x", first_line=1).wanted
    run(text, asyncio=asyncio)


def block(text: str) -> Block:
    return Block(ROOT / "README.md", 5, "console", dedent(text).lstrip())


def test_commands_have_the_lines_below_them() -> None:
    found = list(
        commands(
            block("""
            $ flo kv get a \\
                --format json
            {"key": "a"}

            $ flo kv get b
            """)
        )
    )
    assert [(each.line, each.text, each.expected) for each in found] == [
        (5, "flo kv get a \\\n    --format json", '{"key": "a"}'),
        (9, "flo kv get b", ""),
    ]
    with pytest.raises(AssertionError, match="begins with"):
        list(commands(block("flo kv get a")))


def test_only_listed_commands_are_tested_elsewhere() -> None:
    lines = ("flo up --plain", "flo node --id 1", "flo node --print-config", "flo kv get a")
    found = [next(commands(block(f"$ {line}\n"))).elsewhere for line in lines]
    assert [where is None for where in found] == [False, False, True, True]


def command(text: str, expected: str = "") -> Command:
    return Command(block(""), 5, text, expected)


def test_a_command_must_print_what_stands_below_it(site: Site) -> None:
    run_command(command("flo --host localhost:9001 kv set a 1", "version ..."), site)
    run_command(command("flo kv get nothing", "flo: no such key: nothing"), site)
    with pytest.raises(AssertionError, match="prints:\n1"):
        run_command(command("flo kv get a", "2"), site)
    with pytest.raises(AssertionError, match="ends with 1"):
        run_command(command("flo kv get nothing"), site)


def test_blocks_and_links_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A page: it's one\n\n[self](#a-page-its-one) [b](b.md#c) [far](https://example.com)\n"
        "`[no](no.md)`\n\n```python\nprint(1)\n# not a heading\n```\n\n````text\n```\n````\n"
    )
    found = [(each.line, each.language, each.text) for each in blocks(page)]
    assert found == [(7, "python", "print(1)\n# not a heading\n"), (12, "text", "```\n")]
    assert links(page) == ["#a-page-its-one", "b.md#c"]
    assert anchors(page) == {"a-page-its-one"}


def test_examples_are_found_where_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        '"""A module.\n\nExample:\n    first()\n\nMore.\n"""\n\n\nclass Thing:\n    def do(self):\n'
        '        """Does.\n\n        Example:\n            if True:\n                second()\n'
        '        """\n'
    )
    found = [(each.name, each.line, each.text) for each in examples(path)]
    assert found == [
        ("module", 4, "first()\n"),
        ("Thing.do", 15, "if True:\n    second()\n"),
    ]
