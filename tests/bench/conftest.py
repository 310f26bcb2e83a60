"""What all tests of the benchmarks share."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def checked_inserts() -> None:
    """Not here, where operations are counted: the check makes some of its own."""
