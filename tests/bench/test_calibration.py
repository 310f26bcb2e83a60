"""The unit that CPU seconds of a bench are compared with."""

import pytest

from bench import calibration
from bench.calibration import calibrate, calibrated
from bench.rows import line, row
from bench.window import Sample


def test_the_unit_is_some_processor_time() -> None:
    assert calibrate(repetitions=1) > 0


def test_the_work_has_not_changed() -> None:
    """If this fails, rows from before cannot be compared any more: do not change the loop."""
    assert calibration.work() == 429448628319904


async def test_a_sample_gets_the_unit_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    units = iter([0.2, 0.4, 0.6])

    def next_unit(repetitions: int) -> float:
        return next(units) / repetitions

    async def measuring() -> Sample:
        assert next(units) == 0.4, "one before, one after"
        return Sample(1.0)

    monkeypatch.setattr(calibration, "calibrate", next_unit)
    assert (await calibrated(measuring())).unit_s == pytest.approx(0.4)


def test_a_row_tells_what_it_cost_in_units() -> None:
    slow = Sample(1.0, 1.5, [0.001] * 1_000, unit_s=0.5)
    quick = Sample(1.0, 0.6, [0.001] * 1_000, unit_s=0.2)
    made = row("flo", "put", "leaders", 64, [slow, quick, quick])
    assert made["server_units_per_kop"] == pytest.approx(3.0)
    assert made["unit_s"] == 0.2
    assert " 3.00   0.20 " in line(made)


def test_a_row_without_units_has_none() -> None:
    assert row("flo", "put", "leaders", 64, [Sample(1.0, 1.0, [0.1])])["server_units_per_kop"] == 0
