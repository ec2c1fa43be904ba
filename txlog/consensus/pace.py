"""How long a candidate and a writer wait for the log nodes: as long as measured answers took.

Decides: the time-outs of a campaign's stages, the commit time-out on slow disks, the pause between
two campaigns.
Must not know: terms, the verdicts of ballots, whether a lease is valid. Nothing here guards safety:
a wrong estimate costs only time.

It measures two times. ``answer_us``: an answer without a disk (Fetch, probe). ``disk_us``: a
promise (two syncs in a row, and perhaps one that was in progress) or the commit of an entry. Both
rise at once, fall slowly, and halve with time when nothing is measured, because a replica measures
no promise or commit for hours. Time in which the loop stood still does not count. A question that
was given up still counts: its late answer proves that the time was too short. One `Pace` lasts as
long as the client, so a campaign starts with what earlier campaigns measured.

Invariant: no time given here is shorter than the time for fast disks, or longer than the constants
below allow.
"""

from __future__ import annotations

from random import Random
from typing import Final

# the longest accepted time for an answer without a disk
ANSWER_LONGEST_US: Final = 4_000_000
# The longest accepted time for a promise or commit. The default commit time-out (L8) is at most
# twice that, or the lease.
DISK_LONGEST_US: Final = 4_000_000
HALVING_US: Final = 10_000_000  # an estimate halves after this time without a measurement
# a Seal is given up after this time, even if a majority of log nodes works on it
SEAL_LONGEST_US: Final = 10_000_000
FALL_SHIFT: Final = 3  # per measurement an estimate falls by an eighth of the difference
GIVEN_UP: Final = 16  # how many given-up questions are remembered


class Pace:
    __slots__ = ("_answer_at_us", "_disk_at_us", "_given_up", "_token", "answer_us", "disk_us")

    def __init__(self) -> None:
        self.answer_us = 0
        self.disk_us = 0
        self._answer_at_us = self._disk_at_us = 0  # when each was measured, or halved
        # key of the question -> when it was asked, whether its answer needs a disk
        self._given_up: dict[bytes, tuple[int, bool]] = {}
        self._token = 0

    # ----------------------------------------------------------------------- what is measured

    def next_token(self) -> int:
        """A token for a question, never used twice, so that a late answer can be recognized."""
        self._token += 1
        return self._token

    def answered(self, us: int, now_us: int) -> None:
        """A majority has answered a question that needs no disk."""
        self.age(now_us)
        self._answer_at_us = now_us
        us = min(us, ANSWER_LONGEST_US)
        self.answer_us = (
            us if us >= self.answer_us else self.answer_us - ((self.answer_us - us) >> FALL_SHIFT)
        )

    def synced(self, us: int, now_us: int) -> None:
        """A majority has promised, or has an entry on disk."""
        self.age(now_us)
        self._disk_at_us = now_us
        us = min(us, DISK_LONGEST_US)
        self.disk_us = (
            us if us >= self.disk_us else self.disk_us - ((self.disk_us - us) >> FALL_SHIFT)
        )

    def age(self, now_us: int) -> None:
        """Call this before using an estimate that may be old."""
        halvings = (now_us - self._answer_at_us) // HALVING_US
        if halvings > 0:
            self.answer_us >>= min(halvings, 30)
            self._answer_at_us += halvings * HALVING_US
        halvings = (now_us - self._disk_at_us) // HALVING_US
        if halvings > 0:
            self.disk_us >>= min(halvings, 30)
            self._disk_at_us += halvings * HALVING_US

    def stood_still(self, us: int, now_us: int) -> None:
        """The loop stood still for ``us`` until now: subtract that from the lateness of answers."""
        self._given_up = {
            key: (min(asked_us + us, now_us), disk)
            for key, (asked_us, disk) in self._given_up.items()
        }

    def give_up(self, key: bytes, asked_us: int, disk: bool) -> None:
        while len(self._given_up) >= GIVEN_UP:
            del self._given_up[next(iter(self._given_up))]
        self._given_up[key] = (asked_us, disk)

    def late(self, key: bytes, now_us: int) -> None:
        """An answer to a question that may have been given up came."""
        found = self._given_up.pop(key, None)
        if found is not None:
            asked_us, disk = found
            if disk:
                self.synced(now_us - asked_us, now_us)
            else:
                self.answered(now_us - asked_us, now_us)

    # ----------------------------------------------------------------------- what follows from it

    def answer_timeout_us(self, lease_ms: int) -> int:
        """For the answers of a majority to Fetch or a probe (W1)."""
        return max(lease_ms * 250, 2 * self.answer_us)

    def seal_timeout_us(self, lease_ms: int) -> int:
        """For the answers to a Seal.
        While the log nodes that work on it make a majority, up to `SEAL_LONGEST_US`.
        """
        return max(lease_ms * 250, 3 * self.disk_us)

    def opening_timeout_us(self, lease_ms: int) -> int:
        """For the first entry of a term, counted from the last progress."""
        return max(lease_ms * 2000, 4 * self.disk_us)

    def commit_timeout_us(self, commit_timeout_ms: int, lease_ms: int) -> int:
        """L8: the time-out that was configured, else the default.
        The default grows with the commits that were measured.
        """
        return (
            commit_timeout_ms * 1000
            if commit_timeout_ms
            else max(lease_ms * 1000, 2 * self.disk_us)
        )

    def stall_us(self, lease_ms: int) -> int:
        """An Append without an answer for this time is sent again."""
        return max(lease_ms * 500, 100_000, 2 * self.disk_us)

    def pause_ms(self, lease_ms: int, rng: Random, sealed: bool) -> int:
        """The pause between two campaigns.
        Candidates that compete must be further apart than a promise takes. ``sealed`` False: the
        candidate asked for no promise, so no other candidate can have outbid it.
        """
        disk_us = self.disk_us if sealed else 0
        return rng.randint(
            max(lease_ms // 8, disk_us // 2000), max(lease_ms // 2, disk_us * 3 // 2000)
        )


def token_key(token: int) -> bytes:
    """A token as the key of its question; a ballot id already is a key."""
    return token.to_bytes(8, "big")
