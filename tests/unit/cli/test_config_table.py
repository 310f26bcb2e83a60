"""The rows of the settings agree with the server, with the documentation, and with each other."""

import re
from dataclasses import fields
from inspect import signature
from pathlib import Path

import pytest

from cluster import config as server
from cluster.addresses import NODE_ID_MAX
from cluster.config import Limits, NodeConfig
from cluster.storage.wal_config import WalConfig
from flo.cli.config_table import PARTITIONS_MAX, SETTINGS, TABLES, Kind, Setting

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "configuration.md"
NUMBERS = (Kind.WHOLE, Kind.BYTES, Kind.MILLISECONDS)
SERVERS_OWN = {"batch_bytes_max", "groups_max"}
"""Of the log, and no settings: they decide what data a node can read."""


def rows(table: str) -> list[Setting]:
    return [setting for setting in SETTINGS if setting.table == table]


def row_in_document(setting: Setting) -> str:
    """The line of docs/configuration.md for a setting."""
    default = setting.unset if setting.default is None else f"`{setting.default}`"
    if setting.kind is Kind.BYTES and isinstance(setting.default, int):
        for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
            if setting.default >= 1 << power and setting.default % (1 << power) == 0:
                default = f'`"{setting.default >> power} {unit}"`'
                break
    cells = [f"`{setting.name}`"]
    if setting.table in ("node", "client"):
        cells.append(f"`{setting.flag}`" if setting.flag else "")
    cells += [f"`{setting.environment}`", default, setting.help]
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("table", TABLES)
def test_the_document_has_every_setting_and_no_other(table: str) -> None:
    section = DOCUMENT.read_text().split(f"### `[{table}]`")[1].split("\n#")[0]
    lines = [line for line in section.splitlines() if re.match(r"\| `", line)]
    assert lines == [row_in_document(setting) for setting in rows(table)]


@pytest.mark.parametrize(("table", "kind"), [("limits", Limits), ("wal", WalConfig)])
def test_each_field_of_the_server_has_a_row_with_its_default(
    table: str, kind: type[Limits] | type[WalConfig]
) -> None:
    defaults = {each.name: each.default for each in fields(kind)}
    if table == "wal":
        defaults = {name: value for name, value in defaults.items() if name not in SERVERS_OWN}
    assert {setting.field: setting.default for setting in rows(table)} == defaults
    for setting in rows(table):
        seconds = isinstance(setting.default, float)
        assert setting.kind is Kind.SECONDS if seconds else setting.kind in NUMBERS


def test_each_parameter_of_a_node_has_a_row_with_its_default() -> None:
    parameters = dict(signature(NodeConfig).parameters)
    # Repairing is done once; it is no setting that stays.
    for other in ("secret", "repair", "limits", "wal"):
        del parameters[other]
    settings = {setting.field: setting for setting in rows("node")}
    del settings["secret_file"]
    assert set(settings) == set(parameters)
    for name, setting in settings.items():
        default = parameters[name].default
        assert name == "data_dir" or setting.default == (None if default == () else default)


def test_the_bounds_are_those_of_the_server() -> None:
    bounds = {setting.place: (setting.least, setting.most) for setting in SETTINGS}
    assert server.PARTITIONS_MAX == PARTITIONS_MAX
    assert bounds["node.partitions"] == (1, PARTITIONS_MAX)
    assert bounds["node.id"] == (1, NODE_ID_MAX)
    for size in bounds["wal.segment_bytes"]:
        WalConfig(segment_bytes=int(size))


def test_no_two_settings_share_a_name() -> None:
    for names in (
        [setting.place for setting in SETTINGS],
        [setting.environment for setting in SETTINGS],
        [setting.flag for setting in SETTINGS if setting.flag],
        # Errors of the server name them so.
        [setting.field for setting in SETTINGS if setting.table != "client"],
    ):
        assert len(names) == len(set(names))
    assert {setting.table for setting in SETTINGS} == set(TABLES)
    for setting in SETTINGS:
        assert setting.unset or setting.default is not None
        assert bool(setting.flag) == bool(setting.metavar)
