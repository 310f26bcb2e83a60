"""Pictures of saved rows."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.__main__ import main
from bench.results import header, save
from bench.rows import row
from bench.window import Sample
from tests.bench.test_endurance import RUN


def saved(path: Path, *operations: str) -> Path:
    rows = [
        row("flo", operation, "leaders", outstanding, [sample])
        for operation in operations
        for outstanding, sample in (
            (1, Sample(3.0, 0.1, [0.001] * 300, by_second=[100, 0, 200])),
            (64, Sample(0.5, 0.1, [0.002] * 300)),
            (4_096, Sample(3.0, 0.1, errors=7, by_second=[0, 0, 0])),
        )
    ]
    save(path, header("run", {}), rows)
    return path


def test_several_files_are_one_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", exc_type=ImportError)
    files = [saved(tmp_path / "old.json", "put"), saved(tmp_path / "new.json", "put", "get")]
    picture = tmp_path / "both.svg"
    ended = CliRunner().invoke(main, ["plot", *map(str, files), "--out", str(picture)])
    assert ended.exit_code == 0, ended.output
    drawn = picture.read_text()
    for label in ("old flo put leaders 128 B", "new flo get leaders 128 B", "dotted: p99"):
        assert label in drawn


def test_endurance_is_drawn_over_time(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", exc_type=ImportError)
    path, picture = tmp_path / "long.json", tmp_path / "long.svg"
    save(path, header("endurance", {}), RUN)
    ended = CliRunner().invoke(main, ["plot", str(path), "--out", str(picture)])
    assert ended.exit_code == 0, ended.output
    assert "disk of the fullest" in picture.read_text()


def test_without_the_library_a_run_does_not_even_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ended = CliRunner().invoke(main, ["run", "--plot", str(tmp_path / "run.svg")])
    assert ended.exit_code == 1
    assert "pip install" in ended.output
