"""Turns the bytes from a client into commands.

Decides: where a command ends, what a protocol error is and how Redis words it, how many bytes an
unfinished command may hold.
Must not know: commands.

There are two parsers. hiredis takes the common form: whole commands that are arrays of a few bulk
strings. The exact parser below (`_Exact`) takes the rest: inline commands, errors, large or
unfinished commands, clients that have not authenticated. The caller gets the commands that hiredis
found in a chunk only if the whole chunk passes these checks. So the exact parser always decides the
doubtful cases:

- hiredis must reach the end of the chunk exactly at the end of a command. After several commands a
  sentinel (``*0``) is fed, which hiredis must return as itself: hiredis does not distinguish an
  empty buffer from one that ends inside a command;
- every argument must be bytes (hiredis would pass ``:5`` as a number), and the count of ``\\r\\n$``
  must equal the count of arguments;
- hiredis never gets an array header of five digits or more, because it would allocate the list
  before it has seen an element.

Invariant: memory use is bounded by the bytes received. The memory of an unfinished command is
bounded by client-query-buffer-limit.
"""

from __future__ import annotations

import re
from typing import Final

import hiredis

from memstore.engine.settings import Settings

# bytes that a line (inline command, array or bulk header) may have before its end arrives
INLINE_MAX: Final = 64 * 1024
LARGE: Final = 512 * 1024  # bytes; more than one read of a socket returns
UNAUTHENTICATED_ARGS: Final = 10
UNAUTHENTICATED_BULK: Final = 16 * 1024  # bytes
_INT_MAX: Final = 2**31 - 1
_SENTINEL: Final = b"*0\r\n"
_LONG_ARRAY: Final = re.compile(rb"\*\d{5}").search
_INTEGER: Final = re.compile(rb"(?:0|-?[1-9][0-9]{0,18})\Z").match
_join: Final = b"".join

Argv = list[bytes]


class ProtocolError(Exception):
    """The client broke the protocol; the message is Redis' own, without the leading "-ERR "."""


class CommandReader:
    """The commands in a stream of chunks. `feed` returns the complete ones.
    After a protocol error ``error`` is set and nothing more is read.
    """

    __slots__ = (
        "_authenticated",
        "_exact",
        "_reader",
        "_whole",
        "error",
        "fast",
        "large",
        "settings",
    )

    def __init__(self, settings: Settings | None = None, authenticated: bool = True) -> None:
        """``settings`` has the limits.
        They are read at each use, so that CONFIG SET affects open connections.
        """
        self._reader = hiredis.Reader()
        self.settings = settings or Settings()
        self._exact = _Exact(self.settings)
        # no unfinished command, no error, no low limits: hiredis may try
        self._whole = authenticated
        self._authenticated = authenticated
        self.error = ""
        # A command of more than LARGE bytes was among those read. The caller clears this with
        # `end_large`.
        self.large = False
        # only commands matter: authenticated, no error, none of them large
        self.fast = authenticated

    def feed(self, data: bytes) -> list[Argv]:
        """Return complete commands in order; may be empty. Check ``error`` afterwards."""
        if self._whole:
            batch = self._feed_fast(data)
            if batch is not None:
                return batch
            cut = data.rfind(b"\r\n*") + 2
            if cut > 2 and (batch := self._feed_fast(data[:cut])) is not None:
                return self._feed_slow(batch, data[cut:])
        elif self.error:
            return []
        return self._feed_slow([], data)

    @property
    def pending(self) -> int:
        """Return the bytes held of an unfinished command."""
        return self._exact.held

    def _feed_fast(self, data: bytes) -> list[Argv] | None:
        """Return the commands of a chunk that is whole and of the common form.
        None: the exact parser must read the chunk; no state has changed.
        """
        if not data or data[0] != 42 or data[-1] != 10:
            return None
        reader = self._reader
        try:
            if data.count(b"*") == 1:
                if data.find(b"\r", 1, 6) > 0:
                    reader.feed(data)
                    argv = reader.gets()
                    _join(argv)  # raises for anything but an array of bytes
                    if argv and not reader.has_data() and data.count(b"\r\n$") == len(argv):
                        return [argv]
            elif _LONG_ARRAY(data) is None:
                reader.feed(data + _SENTINEL)
                batch: list[Argv] = []
                arguments = 0
                while argv := reader.gets():
                    _join(argv)
                    arguments += len(argv)
                    batch.append(argv)
                if argv == [] and not reader.has_data() and data.count(b"\r\n$") == arguments:
                    return batch
        except (hiredis.ProtocolError, TypeError):
            pass  # the exact parser reports the error, in Redis' words
        self._reader = hiredis.Reader()
        return None

    def _feed_slow(self, batch: list[Argv], data: bytes) -> list[Argv]:
        exact = self._exact
        exact.data += data
        try:
            while True:
                argv = exact.next(self._authenticated)
                if argv is None:
                    break
                if argv:
                    batch.append(argv)
                    self.large = self.large or sum(map(len, argv)) > LARGE
                    if not self._authenticated:
                        break  # it may be AUTH: `resume` reads the rest after its result is known
            if exact.held > self.settings.client_query_buffer_limit:
                self.error = "query buffer limit reached"
        except ProtocolError as error:
            self.error = str(error)
        self._settle()
        return batch

    def _settle(self) -> None:
        self._whole = self._authenticated and not self.error and not self._exact.busy
        self.fast = self._authenticated and not self.error and not self.large

    def end_large(self) -> None:
        self.large = False
        self._settle()

    @property
    def authenticated(self) -> bool:
        return self._authenticated

    @authenticated.setter
    def authenticated(self, value: bool) -> None:
        if value is not self._authenticated:
            self._authenticated = value
            self._settle()

    def resume(self) -> list[Argv]:
        """Return the rest of the received commands, after those of an unauthenticated `feed` have
        run.
        """
        return self._feed_slow([], b"") if not self.error and self._exact.data else []


class _Exact:
    """Redis' own grammar, one command at a time, with state between chunks."""

    __slots__ = ("args", "bulk", "data", "expected", "held_args", "offset", "scanned", "settings")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.data = bytearray()
        self.offset = 0
        self.scanned = 0  # there is no line end before this offset
        self.args: list[bytes] = []
        self.held_args = 0  # bytes in args
        self.expected = 0  # arguments still to come
        self.bulk = -1  # length of the bulk being read, -1: its header is next

    @property
    def busy(self) -> bool:
        return bool(self.data) or self.expected > 0

    @property
    def held(self) -> int:
        return len(self.data) + self.held_args

    def next(self, authenticated: bool) -> Argv | None:
        """Return the next command, [] for an empty one, None when its end has not arrived.
        Raises `ProtocolError`.
        """
        try:
            if self.expected == 0:
                if self.offset >= len(self.data):
                    return None
                if self.data[self.offset] != 42:
                    return self._inline()
                if not self._array_header(authenticated):
                    return None
                if self.expected == 0:
                    return []
            return self._arguments(authenticated)
        finally:
            if self.offset:
                del self.data[: self.offset]
                self.scanned = max(0, self.scanned - self.offset)
                self.offset = 0

    def _line(self, end: bytes, what: str) -> bytes | None:
        """Return the line up to ``end`` ("\\r" with one byte after it, or "\\n"); move the offset
        past it.
        """
        at = self.data.find(end, max(self.offset, self.scanned))
        if at < 0:
            if len(self.data) - self.offset > INLINE_MAX:
                raise ProtocolError(f"Protocol error: {what}")
            self.scanned = len(self.data)
            return None
        if end == b"\r":
            if at + 2 > len(self.data):
                self.scanned = at
                return None
            line = bytes(self.data[self.offset : at])
            self.offset = at + 2
        else:
            line = bytes(self.data[self.offset : at])
            self.offset = at + 1
        self.scanned = self.offset
        return line

    def _inline(self) -> Argv | None:
        line = self._line(b"\n", "too big inline request")
        if line is None:
            return None
        args = split_inline(line.removesuffix(b"\r"))
        if args is None:
            raise ProtocolError("Protocol error: unbalanced quotes in request")
        return args

    def _array_header(self, authenticated: bool) -> bool:
        line = self._line(b"\r", "too big mbulk count string")
        if line is None:
            return False
        count = parse_length(line[1:])
        if count is None or count > _INT_MAX:
            raise ProtocolError("Protocol error: invalid multibulk length")
        if count > UNAUTHENTICATED_ARGS and not authenticated:
            raise ProtocolError("Protocol error: unauthenticated multibulk length")
        self.expected = max(0, count)
        return True

    def _arguments(self, authenticated: bool) -> Argv | None:
        while self.expected:
            if self.bulk < 0:
                line = self._line(b"\r", "too big bulk count string")
                if line is None:
                    return None
                self.bulk = self._bulk_length(line, authenticated)
            end = self.offset + self.bulk
            if len(self.data) < end + 2:
                return None
            self.args.append(bytes(self.data[self.offset : end]))
            self.held_args += self.bulk
            self.offset = end + 2
            self.scanned = self.offset
            self.bulk = -1
            self.expected -= 1
        argv, self.args, self.held_args = self.args, [], 0
        return argv

    def _bulk_length(self, line: bytes, authenticated: bool) -> int:
        if line[:1] != b"$":
            got = line[:1].decode("latin-1") if line else "\r"
            raise ProtocolError(f"Protocol error: expected '$', got '{got}'")
        length = parse_length(line[1:])
        if length is None or length < 0 or length > self.settings.proto_max_bulk_len:
            raise ProtocolError("Protocol error: invalid bulk length")
        if length > UNAUTHENTICATED_BULK and not authenticated:
            raise ProtocolError("Protocol error: unauthenticated bulk length")
        return length


def parse_length(digits: bytes) -> int | None:
    """A 64-bit integer as Redis accepts it (no sign but '-', no leading zero), else None."""
    if _INTEGER(digits) is None:
        return None
    value = int(digits)
    return value if -(2**63) <= value < 2**63 else None


_ESCAPES: Final = {110: 10, 114: 13, 116: 9, 98: 8, 97: 7}  # \n \r \t \b \a
_SPACES: Final = b" \n\r\t\x0b\x0c\0"
_HEX: Final = b"0123456789abcdefABCDEF"


def split_inline(line: bytes) -> list[bytes] | None:
    """Return the arguments of an inline command. None: unbalanced quotes.
    Quoting is Redis' ("..." with escapes, '...' with \\' only).
    """
    args: list[bytes] = []
    at, size = 0, len(line)
    while True:
        while at < size and line[at] in _SPACES:
            at += 1
        if at >= size:
            return args
        parsed = _one_argument(line, at)
        if parsed is None:
            return None
        argument, at = parsed
        args.append(argument)


def _one_argument(line: bytes, at: int) -> tuple[bytes, int] | None:
    out = bytearray()
    size = len(line)
    quote = 0
    while at < size:
        byte = line[at]
        if quote:
            if byte == quote:
                if at + 1 < size and line[at + 1] not in _SPACES:
                    return None  # a closing quote must be followed by a space or the end
                return bytes(out), at + 1
            if byte == 92 and at + 1 < size:
                decoded, used = _escape(line, at, quote)
                out.append(decoded)
                at += used
                continue
            out.append(byte)
        elif byte in _SPACES:
            break
        elif byte in (34, 39):
            quote = byte
        else:
            out.append(byte)
        at += 1
    return None if quote else (bytes(out), at)


def _escape(line: bytes, at: int, quote: int) -> tuple[int, int]:
    """Return the byte for the backslash at ``at``, and how many bytes of the line it takes."""
    following = line[at + 1]
    if quote == 39:
        return (39, 2) if following == 39 else (92, 1)
    if following == 120 and at + 3 < len(line) and line[at + 2] in _HEX and line[at + 3] in _HEX:
        return int(line[at + 2 : at + 4], 16), 4
    return _ESCAPES.get(following, following), 2
