"""The pages are true: programs run, commands print what stands below them, links lead on."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from flo import FloClient, pytest_plugin
from tests.docs.conftest import Site
from tests.docs.console import Command, commands, run_command
from tests.docs.execute import Code
from tests.docs.pages import ROOT, Block, all_blocks, anchors, blocks, links, page_id, pages

LANGUAGES = {"python", "console", "toml", "sh", "text"}
"""All are run, or at least parsed, but `text`: pictures and the like."""


def commands_of(page: Path) -> list[Command]:
    """Those that can be run here."""
    found = [
        each for block in blocks(page) if block.language == "console" for each in commands(block)
    ]
    return [command for command in found if command.elsewhere is None]


@pytest.mark.parametrize("page", pages(), ids=page_id)
def test_every_block_is_of_a_kind_that_is_tested(page: Path) -> None:
    unknown = {block.id: block.language for block in blocks(page)}
    assert not {where for where, language in unknown.items() if language not in LANGUAGES}, unknown


@pytest.mark.parametrize("block", all_blocks("python"), ids=lambda block: block.id)
def test_the_program_runs(block: Block, site: Site) -> None:
    text = site.translate_code(block.text)
    name = block.text.partition("\n")[0].removeprefix("# ")
    if name.startswith("test_") and name.endswith(".py"):
        _run_pytest(site.directory / name, text, site.environment())
    else:
        code = Code(text, filename=str(block.page), first_line=block.line)
        if "client" in code.wanted:
            asyncio.run(_with_client(code, site))
        else:
            code.run()


async def _with_client(code: Code, site: Site) -> None:
    """For pages whose text says that the examples stand inside `async with ... as client`."""
    async with FloClient(site.endpoints) as client:
        await code.run_in_loop(client=client)


def _run_pytest(path: Path, text: str, environment: dict[str, str]) -> None:
    path.write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", pytest_plugin.__name__]
    command += ["-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function"]
    done = subprocess.run(
        [*command, path.name],
        capture_output=True,
        text=True,
        cwd=path.parent,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", [each for each in pages() if commands_of(each)], ids=page_id)
def test_the_commands_print_what_stands_below_them(page: Path, new_site: Site) -> None:
    """In their order, since later ones show what earlier ones did."""
    for command in commands_of(page):
        run_command(command, new_site)


@pytest.mark.parametrize("block", all_blocks("toml"), ids=lambda block: block.id)
def test_the_configuration_is_accepted(block: Block, site: Site) -> None:
    (site.directory / "flo.toml").write_text(block.text)
    done = subprocess.run(
        ["flo", "node", "--print-config", "--config", "flo.toml"],
        capture_output=True,
        text=True,
        cwd=site.directory,
        env=site.environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", all_blocks("sh"), ids=lambda block: block.id)
def test_the_lines_are_shell(block: Block) -> None:
    """Lines for a file that a shell reads; what can be shown at a prompt is a console block."""
    subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)


@pytest.mark.parametrize("page", pages(), ids=page_id)
def test_the_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page_id(page)}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page_id(page)}: {link}"


def test_every_page_can_be_found() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    docs = {page for page in pages() if page.is_relative_to(ROOT / "docs")} - {index}
    assert not {page_id(page) for page in docs - linked}, "docs/README.md names every page"
