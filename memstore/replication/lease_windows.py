"""Which writer's lease window the log nodes have open, and which node therefore leads.

Decides: whether a primary is known to live. A LEADERSHIP entry says which node led when it was
written. Only an open window of that incarnation says that it leads now. Two sources report windows:
the heartbeats of the log node that this node reads, and the answers of all log nodes to a probe or
a campaign. So a primary that lost its path to one log node is still seen through the others.
Must not know: roles, campaigns. The result serves display and redirects only: the log decides reads
and writes.

Invariant: it never names this process or an earlier process of this node.
"""

from __future__ import annotations

from memstore.replication.control_entries import Leadership


class LeaseWindows:
    __slots__ = ("_elsewhere_until", "_here_until", "_incarnation", "_node", "_writer", "newest")

    def __init__(self, node: str, incarnation: bytes) -> None:
        self.newest: Leadership | None = None  # the newest LEADERSHIP entry that was followed
        self._node = node
        self._incarnation = incarnation
        self._writer = b""  # the writer whose open window was seen
        self._here_until = 0  # how long its window stays open at the log node that this node reads
        self._elsewhere_until = 0  # how long at any log node, by the answers to a probe or campaign

    def on_heartbeat(self, writer: bytes, left_ms: int, now_us: int) -> None:
        """A heartbeat replaces what earlier heartbeats said: a window that was released or replaced
        closes early.
        """
        self._here_until = 0
        if left_ms > 0 and self._tracks(writer, now_us):
            self._here_until = now_us + left_ms * 1000

    def on_answers(self, windows: tuple[tuple[bytes, int], ...], now_us: int) -> None:
        for writer, left_ms in windows:
            if left_ms > 0 and self._tracks(writer, now_us):
                self._elsewhere_until = max(self._elsewhere_until, now_us + left_ms * 1000)

    def _tracks(self, writer: bytes, now_us: int) -> bool:
        """Whether to remember this window. Only one writer's window is kept, and the writer of the
        newest entry has priority.
        """
        if not writer or writer == self._writer:
            return bool(writer)
        if now_us < max(self._here_until, self._elsewhere_until) and (
            self.newest is None or writer != self.newest.incarnation
        ):
            return False
        self._writer, self._here_until, self._elsewhere_until = writer, 0, 0
        return True

    def on_other_writer(self) -> None:
        """The log node that this node reads has another writer's window open instead of the one
        that was seen.
        """
        self._here_until = self._elsewhere_until = 0

    def is_alive(self, leadership: Leadership | None, now_us: int) -> bool:
        return (
            leadership is not None
            and leadership.incarnation == self._writer
            and now_us < max(self._here_until, self._elsewhere_until)
        )

    def is_self(self, node: str, incarnation: bytes) -> bool:
        """Whether this is the present process, or an earlier process at this node's address."""
        return incarnation == self._incarnation or node == self._node

    def live_primary(self, now_us: int) -> Leadership | None:
        """The writer of the newest LEADERSHIP entry, if a window of it is open."""
        newest = self.newest
        if (
            newest is None
            or self.is_self(newest.node, newest.incarnation)
            or not self.is_alive(newest, now_us)
        ):
            return None
        return newest
