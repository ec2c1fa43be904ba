"""The driver of a `Follower`: a subscription to the log on one side, memory on the other.

Decides: how much is applied in one turn of the loop, and when the log must pause.
Must not know: what entries mean, roles.
Invariant: a turn of the loop applies entries for at most about ``TURN_US``, so that a node that
restores still answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from memstore.replication.follower import Follower
from txlog.entry import Entry

TURN_US: Final = 10_000
STEP_BYTES: Final = 32 * 1024  # between two readings of the clock
PAUSE_BYTES: Final = 16 * 1024 * 1024  # fed and not applied: above this the log pauses
RESUME_BYTES: Final = 4 * 1024 * 1024


class Subscription(Protocol):
    def close(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class ReplicaDriver:
    """``on_progress(control)``: entries were applied, and these are their control entries.
    ``on_stuck``: no further entry can be applied.
    """

    def __init__(
        self,
        follower: Follower,
        clock: Callable[[], int],
        on_progress: Callable[[list[Entry]], None],
        on_stuck: Callable[[str], None],
    ) -> None:
        self.follower = follower
        self.subscription: Subscription | None = None
        self._clock = clock
        self._on_progress = on_progress
        self._on_stuck = on_stuck
        self._scheduled = False
        self._paused = False

    def open(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self._paused = False

    def close(self) -> None:
        if self.subscription is not None:
            self.subscription.close()
            self.subscription = None

    def on_records(self, entries: list[Entry], committed: int) -> None:
        self.follower.feed(entries)
        if (
            self.follower.pending_bytes > PAUSE_BYTES
            and not self._paused
            and self.subscription is not None
        ):
            self._paused = True
            self.subscription.pause()
        if not self._scheduled:
            self._turn()

    def apply_all(self) -> bool:
        """Apply what was fed. If one turn is not enough, go on in the next turns and return False;
        ``on_progress`` reports the rest.
        """
        if not self._scheduled:
            self._turn()
        return not self.follower.pending

    def _turn(self) -> None:
        self._scheduled = False
        follower, clock = self.follower, self._clock
        end_us = clock() + TURN_US
        control: list[Entry] = []
        before = follower.followed
        while follower.pending and not follower.stuck and clock() < end_us:
            control += follower.step(STEP_BYTES)
        if follower.pending and not follower.stuck:
            self._scheduled = True
            # Sockets must have their turn. A timer of zero would not starve them either, but
            # call_soon is fair in both loops.
            asyncio.get_running_loop().call_soon(self._turn)
        if self._paused and follower.pending_bytes < RESUME_BYTES and self.subscription is not None:
            self._paused = False
            self.subscription.resume()
        if follower.followed != before:
            self._on_progress(control)
        if follower.stuck:
            self.close()
            self._on_stuck(follower.stuck)
