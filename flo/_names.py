"""Namespaces and keys as bytes, refused here if no server would take them."""

from typing import cast

from flo.exceptions import KeyTooLargeError, NamespaceTooLargeError, ValidationError
from flo.wire.limits import KEY_WITH_NAMESPACE_BYTES_MAX, NAMESPACE_BYTES_MAX


def encode_namespace(namespace: str) -> bytes:
    """The bytes of a namespace; the empty one is the server's default."""
    encoded = encode_text(namespace, "namespace")
    if len(encoded) > NAMESPACE_BYTES_MAX:
        raise NamespaceTooLargeError(
            f"namespace of {len(encoded)} bytes: at most {NAMESPACE_BYTES_MAX}"
        )
    if b"\x00" in encoded:
        raise ValidationError("namespace contains a NUL byte")
    return encoded or b"default"


def encode_text(text: str, what: str) -> bytes:
    """The bytes of a text that goes to a server."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise _no_text(what, text, error) from error


def encode_key(namespace: bytes, key: str | bytes, what: str = "key") -> bytes:
    """The bytes of a key. Text is UTF-8; names that a scan decoded come back as they were.

    `what` it is stands in errors: a queue is named as a key is.
    """
    encoded = encode_prefix(namespace, key, what)
    if not encoded:
        raise ValidationError(f"{what} is empty")
    return encoded


def encode_prefix(namespace: bytes, prefix: str | bytes, what: str = "key") -> bytes:
    """The same for the beginning of a key, which may be empty."""
    try:
        encoded = prefix.encode("utf-8", "surrogateescape") if isinstance(prefix, str) else prefix
    except UnicodeEncodeError as error:
        raise _no_text(what, cast(str, prefix), error) from error
    if len(encoded) + len(namespace) > KEY_WITH_NAMESPACE_BYTES_MAX:
        most = KEY_WITH_NAMESPACE_BYTES_MAX - len(namespace)
        raise KeyTooLargeError(f"{what} of {len(encoded)} bytes: at most {most} in this namespace")
    if b"\x00" in encoded:
        raise ValidationError(f"{what} contains a NUL byte")
    return encoded


def decode_key(key: bytes) -> str:
    """A key as text; bytes that are not UTF-8 survive the way there and back."""
    return key.decode("utf-8", "surrogateescape")


def _no_text(what: str, text: str, error: UnicodeEncodeError) -> ValidationError:
    return ValidationError(f"{what} {text!r} is no valid text: {error.reason}")
