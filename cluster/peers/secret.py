"""The cluster secret: a file with one line of text that every node of a cluster shares."""

import logging
import os
import secrets
from hashlib import blake2b
from pathlib import Path

SECRET_LENGTH_MIN = 32
_FILE_BYTES_MAX = 4096
_OTHERS_MAY_READ = 0o044

_log = logging.getLogger(__name__)


class SecretError(Exception):
    """The secret file cannot be used; the message says why and what to do."""


def load_secret(path: Path) -> bytes:
    """The secret in `path`, without surrounding white space: at least 32 bytes of text.

    Warns when other users may read the file. Raises SecretError.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            secret = file.read(_FILE_BYTES_MAX + 1).strip()
    except OSError as error:
        raise SecretError(f"cannot read the cluster secret {path}: {error.strerror}") from error
    if len(secret) > _FILE_BYTES_MAX:
        raise SecretError(f"the cluster secret {path} is longer than {_FILE_BYTES_MAX} bytes")
    if len(secret) < SECRET_LENGTH_MIN:
        raise SecretError(
            f"the cluster secret {path} has {len(secret)} bytes, at least {SECRET_LENGTH_MIN} are "
            "needed: create one with `openssl rand -hex 32`"
        )
    # A warning only: container platforms mount secrets readable for all users of the container.
    if mode & _OTHERS_MAY_READ:
        _log.warning("other users may read the cluster secret %s: chmod 600 it", path)
    return secret


def create_secret_file(path: Path) -> None:
    """Write 32 random bytes as hex to a new file that only its owner may read, synced.

    Raises SecretError, also when the file exists: a secret is never overwritten.
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise SecretError(f"cannot create the cluster secret {path}: {error.strerror}") from error


def secret_fingerprint(secret: bytes | None) -> str:
    """A short name for a secret that does not reveal it; empty without a secret."""
    if secret is None:
        return ""
    return blake2b(secret, digest_size=8, person=b"flo secret name").hexdigest()
