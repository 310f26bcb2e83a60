"""The few messages of etcd that a load generator sends."""


def varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def put_request(key: bytes, value: bytes) -> bytes:
    """etcdserverpb.PutRequest."""
    return _bytes(1, key) + _bytes(2, value)


def range_request(key: bytes) -> bytes:
    """etcdserverpb.RangeRequest of one key, linearizable."""
    return _bytes(1, key)


def puts_request(puts: "list[tuple[bytes, bytes]]") -> bytes:
    """etcdserverpb.TxnRequest that puts all these and compares nothing."""
    return b"".join(_bytes(2, _bytes(2, put_request(*each))) for each in puts)


def _bytes(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content
