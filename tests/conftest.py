"""Options of the whole test suite."""

import logging
import signal
from collections.abc import Iterator
from typing import cast

import pytest
from hypothesis import HealthCheck, settings

from tests.claims import check_inserts

# Fresh examples, also where CI is set and Hypothesis would try the same every time: they find more.
# However long one takes: nothing is timed in a test, and a machine may stand still for seconds.
settings.register_profile(
    "flo",
    parent=settings.get_profile("default"),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("flo")

# A shell starts what it runs in the background with Ctrl-C ignored, which programs inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("simulation")
    group.addoption(
        "--seeds",
        type=int,
        default=30,
        metavar="N",
        help="how many fresh seeds to simulate (default 30)",
    )
    group.addoption(
        "--seed", type=int, default=None, metavar="N", help="simulate just this seed, again"
    )
    parser.addoption(
        "--minutes", type=float, default=15, metavar="N", help="how long the long chaos run lasts"
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
def only_seed(request: pytest.FixtureRequest) -> int | None:
    """The one seed to simulate, if the command line names one."""
    seed: int | None = request.config.getoption("--seed")
    return seed


@pytest.fixture
def minutes(request: pytest.FixtureRequest) -> float:
    """How long a long run lasts."""
    return float(cast(float, request.config.getoption("--minutes")))


@pytest.fixture(autouse=True, scope="module")
def checked_inserts() -> Iterator[None]:
    """See `check_inserts`."""
    with pytest.MonkeyPatch.context() as patch:
        check_inserts(patch)
        yield


@pytest.fixture(autouse=True)
def log_levels() -> Iterator[None]:
    """A client with `debug=True` shows its log for good; the next test shall not see it."""
    logger = logging.getLogger("flo")
    level, handlers = logger.level, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers
