"""Settings that cannot work are refused by name."""

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cluster.addresses import Address, parse_members
from cluster.config import ConfigError, Limits, NodeConfig

if TYPE_CHECKING:
    from collections.abc import Callable

GOOD = NodeConfig(
    node_id=2,
    listen=Address("127.0.0.1", 9000),
    peer_listen=Address("127.0.0.1", 9100),
    data_dir=Path("data"),
    members=parse_members("1=a:9100,2=b:9100,3=c:9100"),
)


def test_the_usual_settings_fit() -> None:
    Limits()
    assert GOOD.client_address == Address("127.0.0.1", 9000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"node_id": 7}, r"node id 7 is not among the cluster's nodes \[1, 2, 3\]"),
        ({"partition_count": 0}, "partitions must be 1 to 1024, not 0"),
        ({"partition_count": 5000}, "partitions must be 1 to 1024, not 5000"),
        ({"replication": 0}, "replication 0 needs as many nodes; the cluster has 3"),
        ({"replication": 4}, "replication 4 needs as many nodes; the cluster has 3"),
        (
            {"limits": Limits(log_bytes_max=1 << 20)},
            r"log_bytes_max \(1048576\) must be at least twice segment_bytes \(33554432\)",
        ),
    ],
)
def test_a_node_that_cannot_work_says_why(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(GOOD, **change)  # type: ignore[arg-type]  # each field gets a value of its type


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"partition_bytes_max": 1000},
            r"batch_bytes_max \(1048576\) must not exceed partition_bytes_max \(1000\)",
        ),
        ({"value_bytes_max": 4 << 20}, r"value_bytes_max \(4194304\) must not exceed .* the log"),
        ({"batch_bytes_max": 4 << 20}, r"batch_bytes_max \(4194304\) must not exceed .* the log"),
        ({"answer_bytes_max": 48 << 20}, r"answer_bytes_max .* must not exceed .* between nodes"),
        ({"scan_page_bytes_max": 16 << 20}, r"scan_page_bytes_max .* must not exceed 8388608"),
    ],
)
def test_limits_that_contradict_each_other_name_both(change: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(Limits(), **change)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "*"])
def test_a_node_that_listens_everywhere_tells_clients_its_peer_host(host: str) -> None:
    config = replace(GOOD, listen=Address(host, 9000))
    assert config.client_address == Address("b", 9000)


def test_an_advertised_address_wins() -> None:
    config = replace(GOOD, advertise=Address("public", 1))
    assert config.client_address == Address("public", 1)


def test_errors_name_the_settings_they_are_about(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Limits(partition_bytes_max=1000)
    assert caught.value.settings == ("batch_bytes_max", "partition_bytes_max")
    cases: list[tuple[Callable[[], NodeConfig], tuple[str, ...]]] = [
        (lambda: NodeConfig(tmp_path, listen="nowhere"), ("listen",)),
        (lambda: NodeConfig(tmp_path, advertise="a:x"), ("advertise",)),
        (lambda: NodeConfig(tmp_path, advertise="a:0"), ("advertise",)),
        (lambda: NodeConfig(tmp_path, peer_listen="a"), ("peer_listen",)),
        (lambda: NodeConfig(tmp_path, peer_listen="127.0.0.1:9000"), ("listen", "peer_listen")),
        (lambda: NodeConfig(tmp_path, members="a"), ("members",)),
        (lambda: NodeConfig(tmp_path, members="1=a:1"), ("members",)),
        (lambda: NodeConfig(tmp_path, members="1=a:1", node_id=2), ("node_id", "members")),
        (lambda: NodeConfig(tmp_path, node_id=0), ("node_id",)),
        (lambda: NodeConfig(tmp_path, node_id=65_536), ("node_id",)),
        (lambda: NodeConfig(tmp_path, replication=2), ("replication", "members")),
        (lambda: NodeConfig(tmp_path, request_timeout_ms=0), ("request_timeout_ms",)),
    ]
    for make, settings in cases:
        with pytest.raises(ConfigError) as caught:
            make()
        assert caught.value.settings == settings


@pytest.mark.parametrize("field", [field.name for field in fields(Limits)])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_no_limit_is_nothing(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"{field} must be above 0"):
        replace(Limits(), **{field: value})  # type: ignore[arg-type]  # NaN is the point


@pytest.mark.parametrize(
    ("limits", "settings"),
    [
        (Limits(calls_bytes_max=1000), ("value_bytes_max", "calls_bytes_max")),
        (
            Limits(partition_bytes_max=1000, batch_bytes_max=1000),
            ("value_bytes_max", "partition_bytes_max"),
        ),
        (
            Limits(connection_unsent_bytes_max=1000),
            ("answer_bytes_max", "connection_unsent_bytes_max"),
        ),
    ],
)
def test_what_is_allowed_must_be_able_to_pass(limits: Limits, settings: tuple[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        NodeConfig("data", limits=limits)
    assert caught.value.settings == settings


def test_the_secret_is_not_shown() -> None:
    assert "hush" not in repr(NodeConfig("data", secret=b"hush-hush-hush"))


def test_the_secret_may_be_text() -> None:
    assert NodeConfig("data", secret="ab" * 32).secret == b"ab" * 32
