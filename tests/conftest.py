"""Options of the whole test suite."""

import os

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("simulation")
    group.addoption(
        "--seeds",
        type=float,
        default=float(os.environ.get("FLO_SIMULATION_SECONDS", "3")),
        metavar="SECONDS",
        help="how long to simulate fresh seeds (default 3, or FLO_SIMULATION_SECONDS)",
    )
    group.addoption(
        "--seed", type=int, default=None, metavar="N", help="simulate just this seed, again"
    )
    parser.addoption("--long", action="store_true", help="also run the tests marked long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        return
    skip = pytest.mark.skip(reason="takes long: run with --long")
    for item in items:
        if item.get_closest_marker("long") is not None:
            item.add_marker(skip)


@pytest.fixture
def fresh_seconds(request: pytest.FixtureRequest) -> float:
    """How long to simulate fresh seeds."""
    seconds = request.config.getoption("--seeds")
    assert isinstance(seconds, float)
    return seconds


@pytest.fixture
def only_seed(request: pytest.FixtureRequest) -> int | None:
    """The one seed to simulate, if the command line names one."""
    seed: int | None = request.config.getoption("--seed")
    return seed
