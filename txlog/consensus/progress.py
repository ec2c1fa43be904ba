"""What the writer keeps of its log, and how far each log node is with it (W4).

Decides: which entries are still available, what fits into the next message to a node, what of it is
in flight.
Must not know: what happens to terms, leases, the next question to each node (`proposer`).

The writer treats each node as *probing* or as streaming. Probing: the node's position is not known,
so the writer sends one message at a time until one is answered `Appended`. Streaming: it sends
messages until the window is full.

Invariants: the available entries are dense and reach back at least to the first uncommitted one; a
node's bytes in flight are those of its outstanding messages.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque

from txlog.consensus.limits import BUSY_AFTER, BUSY_NOTICE_US, BUSY_US, COMMIT_NOTICE_US, RETRY_US
from txlog.entry import Entry, EntryId
from txlog.messages import LeaseHeld, Promised, Suspected, Unsealed


class Recent:
    """The newest entries, dense. ``first`` is the position of the oldest available one."""

    __slots__ = (
        "_encoded",
        "_ends",
        "_entries",
        "_previous_chain",
        "_previous_id",
        "_start_bytes",
        "first",
        "last",
        "last_chain",
    )

    def __init__(self, previous: EntryId, previous_chain: bytes) -> None:
        self.first = previous[1] + 1
        self.last: EntryId = previous
        self.last_chain = previous_chain
        self._previous_id = previous
        self._previous_chain = previous_chain
        self._entries: list[Entry] = []
        self._encoded: list[bytes] = []
        # bytes up to and including this entry, counted from this object's creation
        self._ends: list[int] = []
        self._start_bytes = 0  # the same for the entry before `first`

    def add(self, entry: Entry) -> None:
        assert entry.position == self.last[1] + 1 and entry.previous_chain == self.last_chain, (
            "entries follow one another"
        )
        self._entries.append(entry)
        self._encoded.append(entry.encoded)
        self._ends.append(
            (self._ends[-1] if self._ends else self._start_bytes) + len(entry.encoded)
        )
        self.last = (entry.term, entry.position)
        self.last_chain = entry.chain

    def before(self, position: int) -> tuple[EntryId, bytes] | None:
        """Id and chain of the entry before ``position``; None: no longer available."""
        index = position - self.first
        if index > 0:
            entry = self._entries[index - 1]
            return (entry.term, entry.position), entry.chain
        return (self._previous_id, self._previous_chain) if index == 0 else None

    def take(self, start: int, max_bytes: int) -> list[bytes]:
        """Encoded entries from ``start`` on, within ``max_bytes``; at least one if any exists."""
        index = start - self.first
        ends = self._ends
        before = ends[index - 1] if index else self._start_bytes
        if ends[-1] - before <= max_bytes:
            return self._encoded[index:]
        return self._encoded[index : max(index + 1, bisect_right(ends, before + max_bytes, index))]

    def slice(self, start: int) -> list[Entry]:
        return self._entries[start - self.first :]

    def bytes_after(self, position: int) -> int:
        index = position - self.first
        if not self._ends or index >= len(self._ends):
            return 0
        return self._ends[-1] - (self._ends[index] if index >= 0 else self._start_bytes)

    def trim(self, keep_bytes: int, committed: int) -> None:
        """Forget committed entries that are more than ``keep_bytes`` old.
        It removes many at once, because removal from the front of a list is slow.
        """
        ends = self._ends
        if not ends or ends[-1] - self._start_bytes <= keep_bytes:
            return
        count = min(
            bisect_right(ends, ends[-1] - keep_bytes), committed - self.first + 1, len(ends) - 1
        )
        if count < 1 or count * 8 < len(ends):
            return
        newest = self._entries[count - 1]
        self._previous_id, self._previous_chain = newest.id, newest.chain
        self._start_bytes = ends[count - 1]
        self.first += count
        del self._entries[:count], self._encoded[:count], ends[:count]


class Ages:
    """When uncommitted entries were appended (L8), and whether appends come close together (W7)."""

    __slots__ = ("_appended_us", "_limit_us", "_quick", "_waiting")

    def __init__(self, limit_us: int) -> None:
        """``limit_us``: the most time per entry that `shift` may leave out."""
        self._limit_us = limit_us
        # (position, when everything up to it had been appended, the same without the time left out)
        self._waiting: deque[tuple[int, int, int]] = deque()
        self._appended_us = 0  # when the newest entry was appended
        self._quick = 0  # how many entries in a row came soon after the entry before

    def clear(self) -> None:
        self._waiting.clear()

    @property
    def oldest_us(self) -> int:
        """0: everything is committed."""
        return self._waiting[0][2] if self._waiting else 0

    @property
    def notice_us(self) -> int:
        """How long a commit notice waits for an append that carries it."""
        return BUSY_NOTICE_US if self._quick >= BUSY_AFTER else COMMIT_NOTICE_US

    def appended(self, position: int, now_us: int) -> None:
        self._quick = self._quick + 1 if now_us - self._appended_us < BUSY_US else 0
        self._appended_us = now_us
        waiting = self._waiting
        if waiting and waiting[-1][1] == now_us:
            waiting[-1] = (position, now_us, now_us)
        else:
            waiting.append((position, now_us, now_us))

    def committed(self, position: int) -> int:
        """Everything up to ``position`` is committed. When was the oldest of it appended?"""
        waiting = self._waiting
        oldest_us = waiting[0][2] if waiting else self._appended_us
        while waiting and waiting[0][0] <= position:
            waiting.popleft()
        return oldest_us

    def shift(self, us: int, now_us: int) -> None:
        """Leave out this time. The total has a limit.
        An entry that finds no majority must end the lease after a while, however often the loop
        stands still.
        """
        limit_us = self._limit_us
        self._waiting = deque(
            (position, began, min(since + us, now_us, began + limit_us))
            for position, began, since in self._waiting
        )


class Outstanding:
    """A message that is not answered yet."""

    __slots__ = ("entries", "first", "number", "sent_us", "size")

    def __init__(self, number: int, sent_us: int, first: int, entries: int, size: int) -> None:
        self.number = number
        self.sent_us = sent_us
        self.first = first  # the position at which the message's entries begin, or would begin
        self.entries = entries
        self.size = size


class NodeProgress:
    """One log node, as the writer of the current term sees it."""

    __slots__ = (
        "acked", "blocked_until", "catching_up", "commit_sent", "connected", "in_flight",
        "in_flight_bytes", "index", "match", "next", "outstanding", "probing", "renews",
        "repair_epoch", "repair_upto", "rewound", "sealing", "send_probe", "sent_us", "stall_us",
    )  # fmt: skip

    def __init__(self, index: int) -> None:
        self.index = index
        self.connected = False
        # S3: the node's suspicion that we know, and our last position when the node reported it
        self.repair_epoch = b""
        self.repair_upto = 0
        self.outstanding: deque[Outstanding] = deque()
        self.renews: deque[tuple[int, int]] = deque()
        self.new_term(1)

    def new_term(self, next: int) -> None:
        """W5: acks of another term are forgotten."""
        self.match = 0  # the greatest position for which it answered `Appended` in this term
        self.next = next  # the first position not sent yet
        # it has answered an Append of this term, so its promise is durable and it can take a Renew
        self.acked = False
        self.commit_sent = 0  # the committed position last sent to it
        # answers about gaps and conflicts to messages up to this number are out of date
        self.rewound = 0
        self.sent_us = 0
        self.blocked_until = 0
        self.catching_up = 0  # when to check whether it has caught up, 0: it was not sent to pull
        self.send_probe = True  # send a message even if it carries no entry
        self.probing = True
        # A2: it asked for our Seal before it takes Appends, and the Seal was sent
        self.sealing = False
        self.stall_us = 0
        self.clear()

    def clear(self) -> None:
        self.outstanding.clear()
        self.renews.clear()
        self.in_flight = 0
        self.in_flight_bytes = 0

    def rewind(self, next: int, number: int) -> None:
        """Start again from ``next``, in probing mode. ``number``: of the newest message to any
        node.
        """
        self.next = max(1, next)
        self.rewound = number
        self.probing = True
        self.send_probe = True
        renews = list(self.renews)
        self.clear()
        self.renews.extend(renews)

    def reconnected(self, number: int) -> None:
        """W6: the answer to the next message reports where the node stands."""
        self.rewind(self.match + 1 if self.match else self.next, number)
        self.renews.clear()
        self.blocked_until = 0

    def acknowledged(self, number: int) -> None:
        """It took an Append of this term."""
        self.acked = True
        self.stall_us = 0
        self.catching_up = 0
        if self.probing and number > self.rewound:
            self.probing = False

    def renewing(self, number: int, now_us: int) -> None:
        self.renews.append((number, now_us))
        if len(self.renews) > 64:
            self.renews.popleft()
        self.sent_us = now_us

    def sent(self, number: int, now_us: int, first: int, count: int, size: int) -> None:
        self.outstanding.append(Outstanding(number, now_us, first, count, size))
        self.in_flight += count
        self.in_flight_bytes += size
        self.next = first + count
        self.sent_us = now_us
        self.send_probe = False

    def needs_seal(
        self, message: Unsealed | Promised | LeaseHeld, number: int, now_us: int
    ) -> bool:
        """A2: does this node get our Seal now?
        A node that the Seal did not reach, or that refused it, needs it before it takes an Append.
        While another's window is open there, the writer waits. True: send it. ``number``: of the
        newest message sent to any node.
        """
        if isinstance(message, Unsealed):
            if message.number <= self.rewound and not self.catching_up:
                return False
            self.rewind(self.match + 1 if self.match else self.next, number)
            self.catching_up, self.sealing, self.blocked_until = 0, True, now_us + RETRY_US
            return True
        if self.sealing and isinstance(message, Promised):
            self.sealed(min(message.last[1], self.next - 1), number)
        elif self.sealing and isinstance(message, LeaseHeld):
            self.blocked_until = now_us + message.left_ms * 1000
        return False

    def suspected(self, message: Suspected, last: int, number: int) -> bool:
        """S3: the node takes entries and counts nowhere.
        It must get everything assigned (up to ``last``) at the time of this report before it may
        count again. True: this suspicion is a new one.
        """
        if self.sealing:
            self.sealed(self.next - 1, number)
        fresh = message.epoch != self.repair_epoch
        if fresh:
            self.repair_epoch, self.repair_upto = message.epoch, last
            self.send_probe = True
        # it may have lost what it acknowledged; it acknowledges again after it is healed
        self.match = 0
        self.acked = False
        if message.number > self.rewound:
            self.probing = False
        if message.position >= self.next:
            self.next = message.position + 1
        return fresh

    def sealed(self, last: int, number: int) -> None:
        """It has our Seal now, and its log ends at ``last``."""
        self.sealing = False
        self.blocked_until = 0
        self.rewind(last + 1, number)

    def answered(self, number: int) -> int:
        """An Append was answered. Returns when it was sent; 0: not known any more.
        Answers come in order, so older ones are no longer expected.
        """
        outstanding = self.outstanding
        while outstanding and outstanding[0].number <= number:
            found = outstanding.popleft()
            self.in_flight -= found.entries
            self.in_flight_bytes -= found.size
            if found.number == number:
                return found.sent_us
        return 0

    def renewed(self, number: int) -> int:
        renews = self.renews
        while renews and renews[0][0] <= number:
            found, sent_us = renews.popleft()
            if found == number:
                return sent_us
        return 0
