"""The secret file."""

import logging
from pathlib import Path

import pytest

from cluster.peers.secret import (
    SecretError,
    create_secret_file,
    load_secret,
    secret_fingerprint,
)


def test_a_created_secret_is_private_random_and_loads(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    create_secret_file(one)
    create_secret_file(other)
    assert one.stat().st_mode & 0o777 == 0o600
    assert len(bytes.fromhex(load_secret(one).decode())) == 32
    assert load_secret(one) != load_secret(other)
    assert caplog.messages == []


def test_a_secret_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    create_secret_file(path)
    secret = load_secret(path)
    with pytest.raises(SecretError, match=r"cannot create .* File exists"):
        create_secret_file(path)
    assert load_secret(path) == secret


def test_surrounding_white_space_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"  " + b"s" * 32 + b"\r\n\n")
    path.chmod(0o600)
    assert load_secret(path) == b"s" * 32


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "has 0 bytes, at least 32"),
        (b"s" * 31 + b"\n" * 9, "has 31 bytes, at least 32"),
        (b"s" * 4097, "longer than 4096"),
    ],
)
def test_an_unfit_secret_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(SecretError, match=complaint):
        load_secret(path)


def test_a_missing_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match=r"cannot read .*none: No such file"):
        load_secret(tmp_path / "none")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_secret_that_others_may_read_is_used_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    caplog.set_level(logging.WARNING)
    path = tmp_path / "secret"
    create_secret_file(path)
    path.chmod(mode)
    assert load_secret(path)
    assert "chmod 600" in caplog.text


def test_fingerprints() -> None:
    assert secret_fingerprint(None) == ""
    assert secret_fingerprint(b"s" * 32) == "cae85fe8f76943bb"
    assert secret_fingerprint(b"t" * 32) != secret_fingerprint(b"s" * 32)
