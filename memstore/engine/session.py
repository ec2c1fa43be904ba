"""What the node keeps about one client connection.

Decides: nothing; it is the record.
Must not know: sockets (the driver maps sessions to transports).

A session is ``fast_path_ok`` while no command needs a check of the session's state: authenticated,
not in MULTI, replies on. The fast loop runs only for such sessions.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

STRONG: Final = 0
SESSION: Final = 1
EVENTUAL: Final = 2

REPLY_ON: Final = 0
REPLY_OFF: Final = 1
REPLY_SKIP_NEXT: Final = 2  # CLIENT REPLY SKIP was the last command
REPLY_SKIP: Final = 3


# Replies held together: (position, encoded replies, how many of them come before the first write's,
# whether a write's is among them). The last two decide which reply each command gets when the node
# is demoted before it knows that the position is committed.
Held = tuple[int, bytes, int, bool]


class Session:
    __slots__ = (
        "address", "authenticated", "closing", "created_ms", "db", "fast_path_ok", "held", "id",
        "is_blocked", "laddr", "last_command", "last_ms", "lib_name", "lib_ver", "monitor", "multi",
        "multi_bytes", "multi_failed", "name", "no_evict", "out", "parked", "read_error",
        "readonly", "reads", "reads_covered", "reply_mode", "resp3", "restricted", "seen", "sink",
        "slow_path", "tail_query", "watch_failed", "watched", "watched_gone",
    )  # fmt: skip

    def __init__(
        self,
        id: int,
        address: str = "",
        laddr: str = "",
        created_ms: int = 0,
        authenticated: bool = True,
    ) -> None:
        self.id = id
        self.address = address
        self.laddr = laddr
        self.created_ms = created_ms
        self.last_ms = created_ms
        self.authenticated = authenticated
        # each command is checked (`engine.access`); else the session may run every command
        self.restricted = not authenticated
        self.name = b""
        self.lib_name = b""
        self.lib_ver = b""
        self.db = 0
        self.resp3 = False
        # queued (row, argv), None outside MULTI
        self.multi: list[tuple[object, list[bytes]]] | None = None
        self.multi_bytes = 0  # what the queue takes, about
        self.multi_failed = False  # a queued command was refused: EXECABORT
        self.watched: list[tuple[int, bytes]] = []  # (db, key)
        # those of them that a replica hid when they were watched
        self.watched_gone: list[tuple[int, bytes]] = []
        self.watch_failed = False
        self.reply_mode = REPLY_ON
        self.monitor = False
        self.no_evict = False
        self.readonly = False  # READONLY of cluster mode
        self.is_blocked = False
        self.closing = False  # close once everything held has been written
        self.last_command = b""
        self.reads = STRONG
        self.seen = 0  # newest log position this session has seen or written (session reads)
        self.reads_covered = (
            0  # how many commands at the front of parked a strong read's answer covers
        )
        # Number of the tail query that covers parked commands and has no answer yet. 0: there is
        # none, or the commands were taken since.
        self.tail_query = 0
        self.read_error = b""  # the error that covered reads get; empty: they may run
        self.held: deque[Held] = deque()  # replies waiting for commit, in order
        self.out: list[bytes] = []  # replies of the current batch that wait for nothing
        self.parked: deque[list[bytes]] = deque()  # commands received and not yet started, in order
        # a very large command is among the current or parked ones: each command is then checked
        self.slow_path = False
        self.sink: Any = None  # the driver's connection; the engine never reads it
        self.fast_path_ok = authenticated

    def authenticate(self, authenticated: bool) -> None:
        """Let the session in, or lock it out. Only `engine.access` decides that."""
        self.authenticated = authenticated
        self.restricted = not authenticated
        self.update_fast_path()

    def update_fast_path(self) -> None:
        """Compute ``fast_path_ok``; call this after a change of what it depends on."""
        self.fast_path_ok = (
            not self.restricted
            and self.multi is None
            and self.reply_mode == REPLY_ON
            and not self.monitor
            and not self.closing
        )
        self.fast_path_ok = (
            self.fast_path_ok and not self.parked and not self.is_blocked and not self.slow_path
        )
