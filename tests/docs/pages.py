"""What stands in the markdown pages: fenced blocks, links and headings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^(`{3,})(.*)$")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_INLINE_CODE = re.compile(r"`[^`]*`")


def pages(root: Path = ROOT) -> list[Path]:
    """The pages that users read; DESIGN.md files are for those who work on Flo."""
    return [
        root / "README.md",
        *sorted((root / "docs").rglob("*.md")),
        *sorted((root / "examples").rglob("README.md")),
    ]


def page_id(page: Path, root: Path = ROOT) -> str:
    return page.relative_to(root).as_posix()


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is that of its first line of text."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def id(self) -> str:
        return f"{page_id(self.page)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page in their order."""
    fence, language, begun = "", "", 0
    lines = page.read_text().splitlines()
    for number, line in enumerate(lines, start=1):
        found = _FENCE.match(line)
        if not fence and found:
            fence, language, begun = found[1], found[2].strip(), number + 1
        elif fence and line.strip() == fence:
            text = "\n".join(lines[begun - 1 : number - 1]) + "\n"
            yield Block(page, begun, language, text)
            fence = ""
    assert not fence, f"{page}: the block from line {begun} on has no end"


def all_blocks(language: str) -> list[Block]:
    return [block for page in pages() for block in blocks(page) if block.language == language]


def _prose(page: Path) -> str:
    """The text without its fenced blocks."""
    kept: list[str] = []
    fence = ""
    for line in page.read_text().splitlines():
        found = _FENCE.match(line)
        if not fence and found:
            fence = found[1]
        elif fence:
            fence = "" if line.strip() == fence else fence
        else:
            kept.append(line)
    return "\n".join(kept)


def links(page: Path) -> list[str]:
    """The targets of links to other pages, or to headings."""
    found = _LINK.findall(_INLINE_CODE.sub("", _prose(page)))
    return [target for target in found if "://" not in target and not target.startswith("mailto:")]


def anchors(page: Path) -> set[str]:
    """What a link may name after `#`, as GitHub makes it from the headings."""
    headings = re.findall(r"^#+ +(.*)$", _prose(page), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings
    }
