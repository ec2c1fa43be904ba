"""When a primary writes a DIGEST entry, and of which slice.

Decides: the pace.
Must not know: clocks, the log, how a digest is made (`engine.slices`). While there are writes an
entry comes every ``digest-interval-ms``; where there are few it comes more rarely, since everybody
who restores from the log makes each of its digests again, however long ago it was and however
little came between; and when all of the state has gone by since the last change, none comes at all.
"""

from __future__ import annotations

from typing import Final

from memstore.engine.keyspace import Keyspace
from memstore.engine.settings import Settings
from memstore.engine.state_digest import Walk, slice_digest
from memstore.replication.control_entries import Digest

FEW: Final = 200  # entries; after fewer than these the next digest waits for so many intervals:
WAIT: Final = 10


class Digests:
    """Of one term. ``place``: where the newest DIGEST entry of the log ends, so that the rest of
    the state has its turn whoever leads.
    """

    __slots__ = ("_entries", "_last_us", "_rests", "_round_from", "_settings", "_walk")

    def __init__(self, settings: Settings, place: int, entries: int, now_us: int) -> None:
        self._settings = settings
        self._walk = Walk(place)
        self._last_us = now_us  # when the last one was
        self._entries = entries - FEW  # appended up to the last one
        # the entries appended when the present round began, -1: it began elsewhere
        self._round_from = -1 if place else entries
        self._rests = False  # nothing has changed in a whole round

    def due(self, entries: int, now_us: int) -> bool:
        """``entries``: how many with changes this primary has appended."""
        interval_us = self._settings.digest_interval_ms * 1000
        if (
            not interval_us
            or now_us < self._last_us + interval_us
            or (self._rests and entries == self._round_from)
        ):
            return False
        return entries - self._entries >= FEW or now_us >= self._last_us + interval_us * WAIT

    def take(self, keyspace: Keyspace, entries: int, now_us: int) -> bytes:
        """The payload of the entry that is appended next:
        ``keyspace`` must be the state just before it.
        """
        settings, walk = self._settings, self._walk
        rounds = walk.rounds
        piece = walk.take(keyspace, settings.digest_slice_keys, settings.digest_slice_bytes)
        payload = Digest(piece, slice_digest(keyspace, piece)).encode()
        self._entries = entries
        if walk.rounds != rounds:
            self._rests = entries == self._round_from
            self._round_from = entries
        self._last_us = now_us
        return payload
