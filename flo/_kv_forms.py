"""What callers give to key-value operations, checked before anything is sent."""

from flo.exceptions import BlockTooLongError, ValidationError, ValueTooLargeError
from flo.types import Condition, PutOptions
from flo.wire.limits import TTL_MS_MAX, WAIT_MS_MAX
from flo.wire.messages import KvPut

VALUE_BYTES_MAX = 16 << 20
_CONDITIONS = tuple(Condition)


def as_bytes(value: bytes | bytearray | memoryview) -> bytes:
    """A value as bytes, if it is something like bytes and not too long."""
    if not isinstance(value, bytes):
        value = _copied(value)
    if len(value) > VALUE_BYTES_MAX:
        raise ValueTooLargeError(f"value of {len(value)} bytes: at most {VALUE_BYTES_MAX}")
    return value


def _copied(value: bytearray | memoryview) -> bytes:
    try:
        return bytes(memoryview(value))
    except TypeError as error:
        raise ValidationError(
            f"the value is a {type(value).__name__}: encode it to bytes first"
        ) from error


def put_with(namespace: bytes, key: bytes, value: bytes, options: PutOptions) -> KvPut:
    """The request of a put with options."""
    ttl_ms = None if options.ttl_ms is None else ttl_of(options.ttl_ms)
    # Else what was meant as a condition, such as "if_absent", would be none.
    if options.condition not in _CONDITIONS:
        raise ValidationError(f"condition of {options.condition!r}: give a Condition")
    return KvPut(
        namespace,
        key,
        value,
        ttl_ms or None,
        options.condition == Condition.IF_ABSENT,
        options.condition == Condition.IF_PRESENT,
        cas_of(options.cas_version),
    )


def ttl_of(ttl_ms: int) -> int:
    """Milliseconds that a key may live."""
    if not 0 <= ttl_ms <= TTL_MS_MAX:
        raise ValidationError(f"ttl_ms of {ttl_ms}: 0 to {TTL_MS_MAX}")
    return ttl_ms


def cas_of(version: int | None) -> int | None:
    """The version that a key shall have."""
    if version is not None and not 0 <= version < 1 << 64:
        raise ValidationError(
            f"cas_version of {version}: give the version that a get or a write returned, or 0"
        )
    return version


def delta_of(delta: int) -> int:
    """What to add to a counter."""
    if not -(1 << 63) <= delta < 1 << 63:
        raise ValidationError(f"delta of {delta}: it must fit 64 bits")
    return delta


def wait_ms_of(wait_ms: int) -> int:
    """How long a get may wait."""
    if wait_ms < 0:
        raise ValidationError(f"wait_ms of {wait_ms}: it must not be negative")
    if wait_ms > WAIT_MS_MAX:
        raise BlockTooLongError(f"wait_ms of {wait_ms}: at most {WAIT_MS_MAX}")
    return wait_ms
