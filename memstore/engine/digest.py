"""A digest of the state: equal on two nodes if and only if their keys, values and expiries are
equal.

Decides: what belongs to the state and how the digest combines it.
Must not know: the order in which keys arrived, roles, time (a due key that still exists counts).

Key digests are combined by exclusive or, so that the order does not matter. An empty database has
the digest of zeros, as in Redis.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Final

from memstore.engine.keyspace import Database, Keyspace, Value
from memstore.engine.values.value_types import typed

SIZE: Final = 20


def _field(text: bytes) -> bytes:
    return b"%d:%b" % (len(text), text)


def value_digest(value: Value, at_ms: int = -1) -> bytes:
    it = typed(value)
    return sha1(
        b"".join((_field(it.type_name), _field(it.span(0, 0)), b"%d" % at_ms)),
        usedforsecurity=False,
    ).digest()


def _number(database: Database) -> int:
    total = 0
    index = b"%d" % database.index
    for items, expires in zip(database.slots, database.expires, strict=True):
        for key, value in items.items():
            entry = sha1(
                b"".join((_field(index), _field(key), value_digest(value, expires.get(key, -1)))),
                usedforsecurity=False,
            )
            total ^= int.from_bytes(entry.digest(), "big")
    return total


def database_digest(database: Database) -> bytes:
    return _number(database).to_bytes(SIZE, "big")


def digest(keyspace: Keyspace) -> bytes:
    total = 0
    for database in keyspace.existing():
        total ^= _number(database)
    return total.to_bytes(SIZE, "big")
