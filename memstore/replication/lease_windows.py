"""Whose window the log nodes have open, and who leads by that.

Decides: whether a primary is known to live. A LEADERSHIP entry says who led when it was written;
only an open window of that incarnation says that it leads now. Windows are seen in the heartbeats
of the log node that this node reads, and in all log nodes' answers to a probe or a campaign: a
primary that has lost its path to one log node is seen through the others.
Must not know: roles, campaigns. For display and redirects only: reads and writes are decided by the
log.

Invariant: neither this process nor a former life of this node is ever named.
"""

from __future__ import annotations

from memstore.replication.control_entries import Leadership


class LeaseWindows:
    __slots__ = ("_elsewhere_until", "_here_until", "_incarnation", "_node", "_writer", "newest")

    def __init__(self, node: str, incarnation: bytes) -> None:
        self.newest: Leadership | None = None  # of the log's LEADERSHIP entries that were followed
        self._node = node
        self._incarnation = incarnation
        self._writer = b""  # whose open window was seen
        self._here_until = 0  # how long it stays open at the log node that is read
        self._elsewhere_until = 0  # and at any log node, by the answers to a probe or campaign

    def on_heartbeat(self, writer: bytes, left_ms: int, now_us: int) -> None:
        """A heartbeat. What an earlier one said counts no more: a window that was released or
        replaced closes early.
        """
        self._here_until = 0
        if left_ms > 0 and self._tracks(writer, now_us):
            self._here_until = now_us + left_ms * 1000

    def on_answers(self, windows: tuple[tuple[bytes, int], ...], now_us: int) -> None:
        for writer, left_ms in windows:
            if left_ms > 0 and self._tracks(writer, now_us):
                self._elsewhere_until = max(self._elsewhere_until, now_us + left_ms * 1000)

    def _tracks(self, writer: bytes, now_us: int) -> bool:
        """One writer's window is kept in mind:
        that of the newest entry's writer rather than any other.
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
        """The log node that is read has another writer's window open in the place of the one
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
        """This process, or a process that had this node's address before."""
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
