"""The protocol of NATS: bytes to messages, and requests to bytes."""

from typing import NamedTuple, TypeAlias

_CRLF = b"\r\n"


class Message(NamedTuple):
    """What came for a subscription."""

    subject: bytes
    reply: bytes
    """Where to answer to; empty when no answer is wanted."""
    headers: bytes
    """Whole, with the status in their first line; empty when there are none."""
    payload: bytes


Event: TypeAlias = "Message | bytes"
"""A message, or the line of anything else: `PING`, `PONG`, `+OK`, `-ERR ...`, `INFO ...`."""


def cut_events(data: bytes) -> tuple[list[Event], bytes]:
    """All that is whole, and the beginning of what follows."""
    events: list[Event] = []
    at, size = 0, len(data)
    while at < size:
        line_end = data.find(_CRLF, at)
        if line_end < 0:
            break
        line, after = data[at:line_end], line_end + 2
        if line.startswith((b"MSG ", b"HMSG ")):
            words = line.split(b" ")
            end = after + int(words[-1])
            if end + 2 > size:
                break
            events.append(_message(words, data[after:end]))
            at = end + 2
        else:
            events.append(line)
            at = after
    return events, data[at:]


def _message(words: list[bytes], body: bytes) -> Message:
    """`MSG subject sid [reply] bytes`, or `HMSG subject sid [reply] header-bytes bytes`."""
    sizes = 2 if words[0] == b"HMSG" else 1
    reply = words[3] if len(words) == 4 + sizes else b""
    headers = int(words[-2]) if sizes == 2 else 0
    return Message(words[1], reply, body[:headers], body[headers:])


def status_of(message: Message) -> int:
    """What its headers say instead of a message: 404 not found, 503 nobody answers; else 200."""
    status = message.headers[9:12]
    return int(status) if status.isdigit() else 200


def publication(subject: bytes, payload: bytes) -> tuple[bytes, bytes]:
    """What comes before and after the reply subject of such a request."""
    return b"PUB %s " % subject, b" %d\r\n%s\r\n" % (len(payload), payload)
