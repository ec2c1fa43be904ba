"""When a primary writes a DIGEST entry, and of which slice.

Decides: the pace. While there are writes, one entry comes every ``digest-interval-ms``. With few
writes entries come more rarely: every node that restores from the log computes each digest again,
however old it is and however little changed before it. When all of the state was digested since the
last change, no entry comes at all.
Must not know: clocks, the log, how a digest is made (`engine.slices`).
"""

from __future__ import annotations

from typing import Final

from memstore.engine.keyspace import Keyspace
from memstore.engine.settings import Settings
from memstore.engine.state_digest import Walk, slice_digest
from memstore.replication.control_entries import Digest

FEW: Final = 200  # entries; after fewer than these the next digest waits for this many intervals:
WAIT: Final = 10


class Digests:
    """The digests of one term. ``place``: where the newest DIGEST entry of the log ends. The walk
    goes on from there, so the rest of the state has its turn whichever node leads.
    """

    __slots__ = ("_entries", "_last_us", "_rests", "_round_from", "_settings", "_walk")

    def __init__(self, settings: Settings, place: int, entries: int, now_us: int) -> None:
        self._settings = settings
        self._walk = Walk(place)
        self._last_us = now_us  # when the last digest was taken
        self._entries = entries - FEW  # the number of entries at the last digest
        # the number of entries when the present round began; -1: it began in another term
        self._round_from = -1 if place else entries
        self._rests = False  # nothing changed in a whole round

    def due(self, entries: int, now_us: int) -> bool:
        """``entries``: how many entries with changes this primary has appended."""
        interval_us = self._settings.digest_interval_ms * 1000
        if (
            not interval_us
            or now_us < self._last_us + interval_us
            or (self._rests and entries == self._round_from)
        ):
            return False
        return entries - self._entries >= FEW or now_us >= self._last_us + interval_us * WAIT

    def take(self, keyspace: Keyspace, entries: int, now_us: int) -> bytes:
        """The payload of the next entry. ``keyspace`` must be the state just before that entry."""
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
