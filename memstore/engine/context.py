"""What a command handler sees: the database, the time, the session, and how it reports changes.

Decides: when a key counts as expired, how an effect is noted, what differs between RESP2 and RESP3.
Must not know: the log, the reasons for a role, sockets, a clock.

An engine has one Context. The shard binds it to a session before a batch (`bind`) and takes the
unit afterwards.

There are two times. ``wall_ms`` is the time that this node shows and measures intervals with.
``due_ms`` judges keys: a key that expires at or before it is gone. On a primary the two are equal:
its own time becomes the time of its entries. A replica judges by the greatest time in the entries
it has applied, whatever its own clock shows.

Contract of a handler ``(ctx, argv) -> bytes | None``: it returns the encoded reply (None: the reply
comes later by other means). It raises `CommandError` before it changes anything. It calls `effect`
for each change, after the change. An effect's second argument is the key it changed; `touch` names
further keys.
"""

from __future__ import annotations

from binascii import crc_hqx
from random import Random
from typing import TYPE_CHECKING, Final

from memstore.engine import reply
from memstore.engine.effects import encode
from memstore.engine.keyspace import BRACE, Database, Keyspace, Value, slot_of
from memstore.engine.session import Session
from memstore.engine.values.longstring import LongString

if TYPE_CHECKING:
    from memstore.engine.engine import Engine

# How an expired key is treated.
DELETE_EXPIRED: Final = 0  # primary: log its DEL, then show the absence
HIDE_EXPIRED: Final = 1  # replica: judged by the greatest time in the entries applied
IGNORE_EXPIRED: Final = 2  # applying effects: only the primary decides


class Context:
    __slots__ = (
        "changed",
        "changed_all",
        "database",
        "due_ms",
        "engine",
        "expiry",
        "keyspace",
        "looked",
        "looked_everywhere",
        "nil",
        "resp3",
        "rng",
        "session",
        "unit",
        "unit_db",
        "wall_ms",
    )

    def __init__(self, engine: Engine, keyspace: Keyspace, rng: Random) -> None:
        self.engine = engine
        self.keyspace = keyspace
        self.rng = rng
        self.session = Session(0)
        self.database: Database = keyspace.database(0)
        self.resp3 = False
        self.nil = reply.NIL2
        self.wall_ms = 0
        self.due_ms = 0
        self.expiry = DELETE_EXPIRED
        self.unit: list[bytes] = []  # encoded effects of the current unit
        self.unit_db = 0  # the database of the unit's last effect
        # what the unit changed: a key of database 0 as itself, others as (db, key)
        self.changed: list[bytes | tuple[int, bytes]] = []
        self.changed_all: list[int] = []  # databases the unit changed as a whole
        # keys (in the same form) that were read beyond those in the row's key specification
        self.looked: list[bytes | tuple[int, bytes]] = []
        self.looked_everywhere = False

    def bind(self, session: Session, wall_ms: int) -> None:
        """Bind to a session of a primary, or for work that judges no key.
        A replica's shard sets ``due_ms`` afterwards.
        """
        self.wall_ms = self.due_ms = wall_ms
        self.follow(session)

    def follow(self, session: Session) -> None:
        """Use this session's database and protocol from now on; the time stays."""
        self.session = session
        database = self.keyspace.databases[session.db]
        self.database = database if database is not None else self.keyspace.database(session.db)
        if session.resp3 is not self.resp3:
            self.resp3 = session.resp3
            self.nil = reply.NIL3 if session.resp3 else reply.NIL2

    # ----------------------------------------------------------------- keys

    def lookup(self, key: bytes) -> Value | None:
        """Return the live value of ``key``, or None.
        A primary deletes an expired key, and its DEL becomes part of this unit.
        """
        database = self.database
        slot = (crc_hqx(key, 0) & 16383) if BRACE not in key else slot_of(key)
        value = database.slots[slot].get(key)
        if database.volatile and value is not None:
            at_ms = database.expires[slot].get(key)
            if at_ms is not None and at_ms <= self.due_ms and self._expired(key):
                return None
        return value

    def _expired(self, key: bytes) -> bool:
        if self.expiry == IGNORE_EXPIRED:
            return False
        if self.expiry == DELETE_EXPIRED:
            self.database.remove(key)
            self.effect(b"DEL", key)
            self.engine.expired_keys += 1
        return True

    def lookup_string(self, key: bytes) -> bytes | None:
        """As `lookup`; raises WRONGTYPE for another type.
        It copies a long string; code that reads a part of it uses `lookup_text`.
        """
        value = self.lookup_text(key)
        return value.whole() if isinstance(value, LongString) else value

    def lookup_text(self, key: bytes) -> bytes | LongString | None:
        """As `lookup`; raises WRONGTYPE for another type."""
        value = self.lookup(key)
        if value is None or type(value) is bytes or type(value) is LongString:
            return value
        raise reply.CommandError(reply.WRONGTYPE)

    # ----------------------------------------------------------------- effects

    def effect(self, *args: bytes) -> None:
        """Note one change: a command name and its arguments, the changed key second."""
        index = self.database.index
        if index != self.unit_db:
            self.unit.append(encode((b"SELECT", b"%d" % index)))
            self.unit_db = index
        self.unit.append(encode(args))
        self.changed.append((index, args[1]) if index else args[1])

    def touch(self, key: bytes, db: int | None = None) -> None:
        """The unit's effects changed this key too."""
        index = self.database.index if db is None else db
        self.changed.append((index, key) if index else key)

    def effect_all(self, databases: list[int], *args: bytes) -> None:
        """Note a change of whole databases (FLUSHDB, FLUSHALL, SWAPDB)."""
        index = self.database.index
        if index != self.unit_db:
            self.unit.append(encode((b"SELECT", b"%d" % index)))
            self.unit_db = index
        self.unit.append(encode(args))
        self.changed_all.extend(databases)

    # -------------------------------------------------- replies that differ between RESP2 and RESP3

    def nil_array(self) -> bytes:
        return reply.NIL3 if self.resp3 else reply.NIL_ARRAY2

    def map(self, parts: list[bytes]) -> bytes:
        """``parts``: encoded keys and values, alternating."""
        body = b"".join(parts)
        return (
            b"%%%d\r\n%b" % (len(parts) // 2, body)
            if self.resp3
            else b"*%d\r\n%b" % (len(parts), body)
        )

    def set(self, parts: list[bytes]) -> bytes:
        return b"%b%d\r\n%b" % (b"~" if self.resp3 else b"*", len(parts), b"".join(parts))

    def boolean(self, value: bool) -> bytes:
        if self.resp3:
            return b"#t\r\n" if value else b"#f\r\n"
        return reply.ONE if value else reply.ZERO

    def verbatim(self, value: bytes, kind: bytes = b"txt") -> bytes:
        return (
            b"=%d\r\n%b:%b\r\n" % (len(value) + 4, kind, value) if self.resp3 else reply.bulk(value)
        )

    def double(self, value: bytes) -> bytes:
        """``value``: the number as Redis prints it."""
        return b",%b\r\n" % value if self.resp3 else reply.bulk(value)
