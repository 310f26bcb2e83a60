"""docs/configuration.md: its examples work."""

import re
from pathlib import Path

import pytest

from flo.cli.config import Given, load
from flo.cli.config_table import TABLES
from flo.cli.node import build_config

DOCUMENT = Path(__file__).parents[3] / "docs" / "configuration.md"
EXAMPLES = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES)
def test_each_example_is_a_configuration(tmp_path: Path, text: str) -> None:
    path = tmp_path / "flo.toml"
    path.write_text(text)
    chosen = load(TABLES, Given({}, {}, str(path)))
    build_config(chosen)
    assert any(each.source != "default" for each in chosen.values())


def test_the_first_example_is_a_node_of_three(tmp_path: Path) -> None:
    path = tmp_path / "flo.toml"
    path.write_text(EXAMPLES[0])
    config = build_config(load(TABLES, Given({}, {}, str(path))))
    assert [member.zone for member in config.members] == ["rack-a", "rack-b", "rack-c"]
    assert (config.node_id, config.partition_count, config.replication) == (1, 16, 3)
    assert config.limits.value_bytes_max == 512 << 10
    assert config.wal.segment_bytes == 64 << 20
