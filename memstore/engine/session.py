"""What the node remembers of one client connection.

Decides: nothing; it is the record. Must not know: sockets (the driver maps sessions to transports). A session is ``plain``
while nothing about it needs a question per command: authenticated, not in MULTI, replies on. The fast loop runs only for plain sessions.
"""

from __future__ import annotations

from collections import deque
from typing import Final

STRONG: Final = 0
SESSION: Final = 1
EVENTUAL: Final = 2

REPLY_ON: Final = 0
REPLY_OFF: Final = 1
REPLY_SKIP_NEXT: Final = 2  # CLIENT REPLY SKIP was the last command
REPLY_SKIP: Final = 3


class Session:
    __slots__ = (
        "address", "authenticated", "closing", "created_ms", "db", "epoch", "held", "id", "is_blocked", "last_command", "last_ms", "laddr", "lib_name", "lib_ver",
        "monitor", "multi", "multi_failed", "name", "no_evict", "plain", "reads", "readonly", "reply_mode", "resp3", "seen", "watch_failed", "watched",
    )  # fmt: skip

    def __init__(self, id: int, address: str = "", laddr: str = "", created_ms: int = 0, authenticated: bool = True) -> None:
        self.id = id
        self.address = address
        self.laddr = laddr
        self.created_ms = created_ms
        self.last_ms = created_ms
        self.authenticated = authenticated
        self.name = b""
        self.lib_name = b""
        self.lib_ver = b""
        self.db = 0
        self.resp3 = False
        self.multi: list[tuple[object, list[bytes]]] | None = None  # queued (row, argv), None outside MULTI
        self.multi_failed = False  # a queued command was refused: EXECABORT
        self.watched: list[tuple[int, bytes]] = []  # (db, key)
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
        self.epoch = 0  # bumped by the shard at role changes
        self.held: deque[tuple[int, bytes]] = deque()  # (position, reply), replies waiting for commit, in order
        self.plain = authenticated

    def settle(self) -> None:
        """Recompute ``plain``; call after changing what it depends on."""
        self.plain = self.authenticated and self.multi is None and self.reply_mode == REPLY_ON and not self.monitor and not self.closing
