"""Every example in a docstring runs, and every public function has one."""

import asyncio
import dataclasses
import inspect

import pytest

import cluster
import flo
import flo.sync
from tests.docs.conftest import Site
from tests.docs.docstrings import MARK, Example, all_examples
from tests.docs.execute import Code
from tests.docs.pages import ROOT

PACKAGES = (flo, flo.sync, cluster)


def public_functions() -> dict[str, object]:
    """Functions, and methods of classes that are more than data, that programs may call."""
    found: dict[str, object] = {}
    for package in PACKAGES:
        for name in package.__all__:
            value: object = getattr(package, name)
            where = f"{package.__name__}.{name}"
            if inspect.isfunction(value):
                found[where] = value
            elif inspect.isclass(value) and not _is_data(value):
                found[where] = value
                found |= {
                    f"{where}.{each}": method
                    for part in value.__mro__[:-1]
                    for each, method in vars(part).items()
                    if inspect.isfunction(method) and not each.startswith("_")
                }
    return found


def _is_data(kind: type) -> bool:
    return dataclasses.is_dataclass(kind) or issubclass(kind, BaseException | int | tuple)


@pytest.mark.parametrize("name", public_functions())
def test_every_public_function_has_an_example(name: str) -> None:
    text = inspect.getdoc(public_functions()[name]) or ""
    if text.startswith("Raises "):
        return  # It does nothing else.
    assert MARK in [line.strip() for line in text.splitlines()], f"{name} has no `{MARK}`"


@pytest.mark.parametrize("example", all_examples(), ids=lambda example: example.id)
def test_the_example_runs(example: Example, site: Site) -> None:
    """Examples may use the public names, `client`, which is connected, and `node`, which runs."""
    names: dict[str, object] = {"asyncio": asyncio, "cluster": cluster}
    names |= {name: getattr(flo, name) for name in flo.__all__}
    text = site.translate_code(example.text)
    code = Code(text, filename=str(example.path), first_line=example.line)
    if example.path.is_relative_to(ROOT / "flo" / "sync"):
        names["FloClient"] = flo.sync.FloClient
        with flo.sync.FloClient(site.endpoints) as client:
            code.run(**names, client=client)
    elif "client" in code.wanted:
        asyncio.run(_with_client(code, site, names))
    elif "node" in code.wanted:
        asyncio.run(_with_node(code, site, names))
    else:
        code.run(**names)


async def _with_client(code: Code, site: Site, names: dict[str, object]) -> None:
    async with flo.FloClient(site.endpoints) as client:
        await code.run_in_loop(**names, client=client)


async def _with_node(code: Code, site: Site, names: dict[str, object]) -> None:
    listen = site.translate_code("127.0.0.1:9100")
    async with cluster.Node(cluster.NodeConfig("node", listen=listen)) as node:
        await code.run_in_loop(**names, node=node)
