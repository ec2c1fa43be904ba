"""An engine and its sessions without log, sockets or clock: one call runs one command, as a primary
does it when nothing is in flight.

Every unit of effects is applied to a mirror at once, in the way a replica does it; `same` compares
the two.
"""

from __future__ import annotations

from random import Random

import hiredis

from memstore.commands import build_table
from memstore.engine.command import Row
from memstore.engine.digest import digest
from memstore.engine.effects import encode_unit
from memstore.engine.engine import Engine
from memstore.engine.session import Session
from memstore.engine.settings import Settings
from memstore.engine.transaction import IMMEDIATE, queue, refuse

START_MS = 1_700_000_000_000


def decode(data: bytes) -> list[list[bytes]]:
    reader = hiredis.Reader()
    reader.feed(data)
    found = []
    while (item := reader.gets()) is not False:
        found.append(item)
    return found


class Harness:
    def __init__(
        self, seed: int = 1, wall_ms: int = START_MS, settings: Settings | None = None
    ) -> None:
        self.engine = Engine(
            settings or Settings(enable_debug_command="yes"), Random(seed), build_table()
        )
        self.mirror = Engine(settings or Settings(), Random(seed), build_table())
        self.context = self.engine.context
        self.session = Session(1)
        self.wall_ms = wall_ms
        self.effects: list[list[bytes]] = []  # of the last command
        self.changed: set[tuple[int, bytes]] = set()  # by the last command
        self.units: list[bytes] = []

    def new_session(self, id: int = 2) -> Session:
        return Session(id)

    def run(self, *argv: bytes, session: Session | None = None) -> bytes | None:
        """The encoded reply."""
        session = session or self.session
        args = list(argv)
        self.context.bind(session, self.wall_ms)
        row = self.engine.find(args)
        answer: bytes | None
        if not isinstance(row, Row):
            answer = refuse(self.engine, session, args, row)
        elif session.multi is not None and row.name not in IMMEDIATE:
            answer = queue(self.engine, session, row, args)
        else:
            answer = self.engine.call(row, args)
        self.close_unit()
        return answer

    def line(self, text: str, session: Session | None = None) -> bytes | None:
        """`run` for arguments without blanks in them; ``''`` is the empty one."""
        return self.run(
            *[b"" if part == "''" else part.encode() for part in text.split()], session=session
        )

    def lines(self, *texts: str) -> list[bytes | None]:
        return [self.line(text) for text in texts]

    def close_unit(self) -> None:
        context = self.context
        self.effects = decode(b"".join(context.unit))
        self.changed = {key if isinstance(key, tuple) else (0, key) for key in context.changed}
        if context.unit:
            self.units.append(encode_unit(context.unit))
            self.mirror.apply(self.units[-1], self.wall_ms)
            if self.engine.observers:
                self.engine.after_unit(context.changed, len(self.units))
        context.unit.clear()
        context.changed.clear()
        context.changed_all.clear()
        context.looked.clear()
        context.looked_everywhere = False
        context.unit_db = 0

    def digest(self) -> bytes:
        return digest(self.engine.keyspace)

    def same(self) -> bool:
        """Whether replaying the effects came to the same state."""
        return self.digest() == digest(self.mirror.keyspace)

    def check_keyspace(self) -> None:
        """The keyspace's own invariants."""
        for database in self.engine.keyspace.existing():
            assert database.volatile == sum(map(len, database.expires))
            for slot, expires in enumerate(database.expires):
                assert expires.keys() <= database.slots[slot].keys()
                if expires:
                    assert database.next_due <= database.floors[slot] <= min(expires.values())
