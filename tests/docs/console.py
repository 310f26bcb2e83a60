"""The commands of a page, run one after the other."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from tests.docs.conftest import Site
from tests.docs.execute import like
from tests.docs.pages import Block

PROMPT = "$ "
TIMEOUT_S = 60

# What cannot be run here. Each row: the page or None for any, what the command is, and where else
# it is tested.
ELSEWHERE: tuple[tuple[str | None, str, str], ...] = (
    (None, r"make( |$)", ".ci/run"),
    (None, r"pip install ", "pyproject.toml: installing is what `make` begins with"),
    (None, r"flo up( |$)", "tests/integration/test_up.py"),
    (None, r"flo node (?!.*--print-config)", "tests/unit/cli/test_node_commands.py"),
    (None, r"docker ", "deploy/"),
    (None, r"eval ", "tests/unit/cli/test_completion.py"),
    ("docs/configuration.md", r"FLO_CONFIG=client\.toml ", "tests/unit/cli/test_config_client.py"),
    ("examples/README.md", r"", "tests/integration/test_examples.py"),
    ("examples/webapp/README.md", r"", "tests/integration/test_example_webapp.py"),
)


@dataclass(frozen=True)
class Command:
    """A command, and the lines that stand below it."""

    block: Block
    line: int
    text: str
    expected: str

    @property
    def place(self) -> str:
        return self.block.id.rpartition(":")[0]

    @property
    def elsewhere(self) -> str | None:
        """Where it is tested, if not here."""
        for page, pattern, where in ELSEWHERE:
            if page in (None, self.place) and re.match(pattern, self.text):
                return where
        return None


def commands(block: Block) -> Iterator[Command]:
    lines = block.text.splitlines()
    at = 0
    while at < len(lines):
        assert lines[at].startswith(PROMPT), (
            f"{block.id}: a console block begins with `{PROMPT}`, not with {lines[at]!r}"
        )
        line, text = block.line + at, [lines[at].removeprefix(PROMPT)]
        at += 1
        while text[-1].endswith("\\"):
            text.append(lines[at])
            at += 1
        begun = at
        while at < len(lines) and not lines[at].startswith(PROMPT):
            at += 1
        expected = "\n".join(lines[begun:at]).rstrip()
        yield Command(block, line, "\n".join(text), expected)


def run_command(command: Command, site: Site) -> None:
    """Runs it, and compares. What fails must say so in the text; silence there means success."""
    done = subprocess.run(
        ["bash", "-c", site.translate(command.text)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=site.directory,
        env=site.environment(),
        timeout=TIMEOUT_S,
        check=False,
    )
    printed = site.translate_back(done.stdout)
    where = f"{command.place}:{command.line}: {command.text}"
    if command.expected:
        assert like(command.expected, printed), f"{where}\nprints:\n{printed}"
    else:
        assert done.returncode == 0, f"{where}\nends with {done.returncode}:\n{printed}"
