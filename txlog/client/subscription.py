"""R1: a reader's endless stream of committed entries, from any suitable log node.

Decides: which node is read: the own AZ's first; another one when that node is silent, lags, or
gives entries that do not check.
Must not know: what entries mean.
Invariants: the reader gets each entry once, without gaps, with an unbroken chain from its start
position and start chain; it gets nothing after `close` or after ``on_error``, which is called at
most once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from txlog.entry import FORMAT_VERSION, Entry, EntryError, can_pass, decode_entry
from txlog.messages import Heartbeat, Message, Records, Reject, Subscribe, Welcome

if TYPE_CHECKING:
    from txlog.link import Link

_CHECK_EVERY_S: Final = 0.25
_SILENT_S: Final = 0.6  # heartbeats come every 0.1 s
# checks in a row in which another node had committed more than this reader has
_BEHIND_CHECKS: Final = 4
_AVOID_CHECKS: Final = 20  # for so many checks a failed node is not the first choice
_GO_HOME_CHECKS: Final = 40

OnRecords = Callable[[list[Entry], int], None]
OnHeartbeat = Callable[[Heartbeat], None]
OnError = Callable[[str], None]


class SubscriptionHost:
    """What a subscription needs to know of the client, which implements it."""

    def reader_link(self, index: int, subscription: Subscription) -> Link:
        raise NotImplementedError

    def preference(self) -> list[int]:
        """All nodes: the own AZ's first, and connected ones before the others."""
        raise NotImplementedError

    def known_committed(self) -> list[int]:
        """The last known committed position of each node; also asks for new ones."""
        raise NotImplementedError

    def forget(self, subscription: Subscription) -> None:
        raise NotImplementedError

    def refusal(self, index: int, welcome: Welcome, link: Link) -> str:
        """The reason why the node on ``link`` does not count for this place, "" when it does."""
        raise NotImplementedError

    def on_membership_version(self, version: int, members: list[str]) -> None:
        """Takes the version and the members of a membership (S8)."""
        raise NotImplementedError


class Subscription:
    """Made by `LogClient.subscribe`. Owns one link of a reader at a time."""

    def __init__(
        self,
        nodes: SubscriptionHost,
        start: int,
        chain: bytes,
        on_records: OnRecords,
        on_heartbeat: OnHeartbeat,
        on_error: OnError,
    ) -> None:
        self.next = start
        self.chain = chain
        self.node = -1  # the index of the node that is read
        self._nodes = nodes
        self._on_records = on_records
        self._on_heartbeat = on_heartbeat
        self._on_error = on_error
        self._link: Link | None = None
        self._paused = False
        self._closed = False
        self._message_seen = False  # since the last check
        self._silent_s = 0.0
        self._seen_committed = 0  # greatest known position of any node, one check ago
        self._behind = 0
        self._away = 0
        self._avoid: dict[int, int] = {}
        self._broken: dict[int, str] = {}  # nodes whose entries did not check
        self._timer: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------ for the reader

    def start(self) -> None:
        self._move("")
        self._tick_later()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._link is not None:
            self._link.close()
        self._nodes.forget(self)

    def pause(self) -> None:
        """Stop reading; the reader may still get what has already arrived."""
        self._paused = True
        if self._link is not None:
            self._link.pause_reading()

    def resume(self) -> None:
        self._paused = False
        self._silent_s = 0.0
        if self._link is not None:
            self._link.resume_reading()

    # ------------------------------------------------------------------ the link

    def on_up(self, index: int, welcome: Welcome) -> str | None:
        assert self._link is not None
        if refusal := self._nodes.refusal(index, welcome, self._link):
            return refusal
        self._link.send(Subscribe(self.next))
        self._message_seen = True
        if self._paused:
            self._link.pause_reading()
        return None

    def on_down(self, index: int, reason: str) -> None:
        if not self._closed and index == self.node:
            self._silent_s = _SILENT_S  # the next check moves on unless it is back by then

    def on_refused(self, index: int, reason: str) -> None:
        if not self._closed and index == self.node:
            self._avoid[index] = _AVOID_CHECKS

    def on_membership(self, index: int, reject: Reject) -> None:
        self._nodes.on_membership_version(reject.version, reject.members)

    def on_membership_change(self) -> None:
        """S8: the node may have left the group: subscribe again under the new version."""
        if self._link is not None:
            self._link.drop("the group has another membership")

    def on_messages(self, index: int, messages: list[Message]) -> None:
        if index != self.node:
            return
        self._message_seen = True
        for message in messages:
            if self._closed or index != self.node:
                return
            if type(message) is Records:
                self._on_records_message(message)
            elif type(message) is Heartbeat:
                self._on_heartbeat(message)
            elif type(message) is Reject:
                if message.version:
                    self._nodes.on_membership_version(message.version, message.members)
                else:
                    self._switch_node(message.reason)
                return

    def _on_records_message(self, records: Records) -> None:
        entries: list[Entry] = []
        wrong = ""
        for encoded in records.entries:
            try:
                entry = decode_entry(encoded)
            except EntryError as error:
                wrong = str(error)
                break
            if entry.position != self.next or entry.previous_chain != self.chain:
                wrong = (
                    f"position {entry.position} does not follow {self.next - 1}"
                    if entry.position != self.next
                    else f"chain broken at position {self.next}"
                )
                break
            if entry.format > FORMAT_VERSION or not can_pass(entry.kind):
                self._deliver(entries, records.committed)
                self._fail(
                    f"position {entry.position} has kind {entry.kind} in format {entry.format}, "
                    "which this version cannot read"
                )
                return
            self.next += 1
            self.chain = entry.chain
            entries.append(entry)
        self._deliver(entries, records.committed)
        if wrong and not self._closed:
            self._broken[self.node] = wrong
            if len(self._broken) == len(self._nodes.preference()):
                self._fail(f"no log node gives entries that follow what was read: {wrong}")
                return
            self._switch_node(wrong)
        elif entries:
            self._broken.clear()

    def _deliver(self, entries: list[Entry], committed: int) -> None:
        if not self._closed:
            self._on_records(entries, min(committed, self.next - 1))

    def _fail(self, reason: str) -> None:
        if not self._closed:
            self.close()
            self._on_error(reason)

    # ------------------------------------------------------------------ choosing

    def _switch_node(self, reason: str) -> None:
        self._avoid[self.node] = _AVOID_CHECKS
        self._move(reason)

    def _move(self, reason: str) -> None:
        """Read from the best node; stay if it is the present one."""
        choice = self._choose()
        if choice == self.node and self._link is not None:
            if reason:
                self._link.drop(reason)
            return
        if self._link is not None:
            self._link.close()
        self.node = choice
        self._behind = self._away = 0
        self._silent_s = 0.0
        self._link = self._nodes.reader_link(choice, self)
        self._link.start()

    def _choose(self) -> int:
        order = self._nodes.preference()
        good = [index for index in order if index not in self._avoid]
        return (good or sorted(order, key=lambda index: self._avoid.get(index, 0)))[0]

    def _tick_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_CHECK_EVERY_S, self._tick)

    def _tick(self) -> None:
        if self._closed:
            return
        self._tick_later()
        self._avoid = {index: left - 1 for index, left in self._avoid.items() if left > 1}
        known = self._nodes.known_committed()
        if self._paused:
            self._silent_s, self._behind = 0.0, 0
            self._seen_committed = max(known)
            return
        self._silent_s = (
            0.0
            if self._message_seen and self._link is not None and self._link.up
            else self._silent_s + _CHECK_EVERY_S
        )
        self._message_seen = False
        self._behind = self._behind + 1 if self._seen_committed >= self.next else 0
        self._seen_committed = max(known)
        if self._silent_s > _SILENT_S:
            self._switch_node("silent")
        elif self._behind >= _BEHIND_CHECKS and self.node not in self._ahead(known):
            self._switch_node("behind the other log nodes")
        elif self._choose() != self.node:
            self._away += 1
            if self._away > _GO_HOME_CHECKS:
                self._move("going back to the nearest log node")
        else:
            self._away = 0

    def _ahead(self, known: list[int]) -> list[int]:
        """Nodes that have committed entries this reader does not have."""
        return [index for index, committed in enumerate(known) if committed >= self.next]
