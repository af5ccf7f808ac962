"""Server-sent events out of bytes that may be cut anywhere.

After html.spec.whatwg.org/multipage/server-sent-events.html: lines end with CRLF, LF or CR, a blank line ends an event,
a line that begins with a colon is a comment. Bytes are buffered up to the end of a line and decoded afterwards, so that a
cut inside a UTF-8 sequence or between CR and LF changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LONGEST_LINE: Final = 4 * 1024 * 1024
"""Bytes of one line above which the other side is taken for broken."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event: the `data` lines joined by newlines, and the event's name (`message` where none was sent)."""

    data: str
    name: str = "message"


class SseParser:
    """Events as bytes come in. Comments (keep-alives), ids and retry hints give nothing."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._data: list[str] = []
        self._name = ""
        self._first_line = True
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """The events that `chunk` completes, in order. Raises ValueError for a line longer than LONGEST_LINE."""
        if not chunk:
            return []
        if self._after_cr and chunk[0] == 0x0A:  # the second half of a CRLF that was cut in two
            chunk = chunk[1:]
        self._after_cr = False
        events: list[ServerEvent] = []
        self._buffer += chunk
        # The common server ends lines with LF alone: one look for CR spares the byte-by-byte search.
        has_cr = b"\r" in self._buffer
        start = 0
        while True:
            end = self._buffer.find(b"\n", start)
            skip = 1
            if has_cr:
                cr = self._buffer.find(b"\r", start, end if end >= 0 else len(self._buffer))
                if cr >= 0:
                    if cr + 1 == len(self._buffer):
                        self._after_cr = True
                    elif self._buffer[cr + 1] == 0x0A:
                        skip = 2
                    end = cr
            if end < 0:
                break
            self._line(bytes(self._buffer[start:end]), events)
            start = end + skip
        del self._buffer[:start]
        if len(self._buffer) > LONGEST_LINE:
            raise ValueError(f"a line of the event stream is longer than {LONGEST_LINE} bytes")
        return events

    def _line(self, raw: bytes, events: list[ServerEvent]) -> None:
        if self._first_line:
            self._first_line = False
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        if not raw:
            if self._data:
                events.append(ServerEvent("\n".join(self._data), self._name or "message"))
            self._data = []
            self._name = ""
            return
        if raw[0] == 0x3A:  # a comment
            return
        field, _, value = raw.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        elif field == "event":
            self._name = value
