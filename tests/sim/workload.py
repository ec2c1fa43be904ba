"""The commands that clients send: mostly judgeable ones, and some of every command.

Decides: the next command of a client, from its generator alone.
Must not know: nodes, outcomes.
Every written value and every token is unique. Keys: registers ``r:N`` (SET, GET and similar),
journals ``{j}:N`` (APPEND, GET, alone and in MULTI), counters ``c:N``, registers with an expiry
``e:N``; in database 1, ``f:N`` for any command.
"""

from __future__ import annotations

from random import Random

from memstore.commands import build_table
from memstore.engine.command import ADMIN, BLOCKING, NO_MULTI, PUBSUB, Row
from tests.sim.records import ANY, APPEND, COUNT, GET, INCREASE, LEASED, LOOK, READ, SET, Part

LARGE = (400, 1200, 6000)  # bytes
REGISTERS, JOURNALS, COUNTERS, LEASES, OTHERS = 6, 4, 3, 4, 8

Command = tuple[bytes, ...]
Step = tuple[list[Command], list[Part]]

# These commands empty or exchange whole databases, or concern the connection.
_LEFT_OUT = (b"FLUSHALL", b"SWAPDB", b"SELECT", b"WATCH", b"RESET", b"MIGRATE")
_KEYLESS = (b"FLUSHDB", b"DBSIZE", b"RANDOMKEY", b"KEYS", b"SCAN")
_WORDS = (
    b"0", b"1", b"-1", b"5", b"17", b"3.0e2", b"9223372036854775807", b"-9223372036854775808",
    b"0.1", b"x", b"", b"NX", b"XX", b"GET", b"KEEPTTL", b"PX", b"EX", b"PERSIST", b"GT", b"LT",
    b"REPLACE", b"DB", b"*", b"300", b"2000", b"LEN", b"IDX", b"MATCH", b"COUNT", b"ASYNC",
)  # fmt: skip


def key_of(family: str, index: int) -> str:
    return f"{{j}}:{index}" if family == "j" else f"{family}:{index}"


class Workload:
    """The workload of one client. ``reads_only``: for clients of replicas.
    ``prefix`` precedes each key. Some tokens get a length from ``large``. ``keeps``: this generator
    also draws commands that keep keys with an expiry or give them another expiry.
    """

    def __init__(
        self,
        client: int,
        rng: Random,
        reads_only: bool,
        prefix: str = "",
        large: tuple[int, ...] = LARGE,
        keeps: Random | None = None,
    ) -> None:
        self.client = client
        self.rng = rng
        self.reads_only = reads_only
        self.prefix = prefix
        self.large = large
        self.keeps = keeps
        self._count = 0

    def _fresh(self) -> str:
        self._count += 1
        return f"{self.client}.{self._count}"

    def next(self) -> Step:
        rng = self.rng
        if self.reads_only:
            return rng.choice(
                (
                    self._get,
                    self._read,
                    self._read,
                    self._read_all,
                    self._count_it,
                    self._look,
                    self._look,
                )
            )()
        choice = rng.random()
        if choice < 0.12:
            return self._pipeline()
        if choice < 0.24:
            return self._set()
        if choice < 0.34:
            return self._get()
        if choice < 0.52:
            return self._append()
        if choice < 0.60:
            return self._read()
        if choice < 0.74:
            return self._transaction()
        if choice < 0.80:
            return self._read_all()
        if choice < 0.90:
            return self._increase() if rng.random() < 0.7 else self._count_it()
        return self._leased() if rng.random() < 0.5 else self._look()

    def _key(self, family: str, index: int) -> str:
        return self.prefix + key_of(family, index)

    # ----------------------------------------------------------------- registers

    def _set(self) -> Step:
        key, value = self._key("r", self.rng.randrange(REGISTERS)), self._fresh()
        k, v = key.encode(), value.encode()
        command = self.rng.choice(
            (
                (b"SET", k, v),
                (b"SET", k, v),
                (b"MSET", k, v),
                (b"SET", k, v, b"KEEPTTL"),
                (b"set", k, v),
            )
        )
        return [command], [Part(SET, key, value)]

    def _get(self) -> Step:
        key = self._key("r", self.rng.randrange(REGISTERS))
        return [(b"GET", key.encode())], [Part(GET, key)]

    # ----------------------------------------------------------------- journals

    def _append(self) -> Step:
        part = self._appending(self.rng.randrange(JOURNALS), self._fresh())
        return [_command(part)], [part]

    def _appending(self, index: int, token: str) -> Part:
        if self.rng.random() < 0.2:
            token += "x" * self.rng.choice(self.large)  # in some runs larger than an entry may be
        return Part(APPEND, self._key("j", index), token + ",")

    def _read(self) -> Step:
        part = Part(READ, self._key("j", self.rng.randrange(JOURNALS)))
        return [_command(part)], [part]

    def _read_all(self) -> Step:
        return _multi([Part(READ, self._key("j", index)) for index in range(JOURNALS)])

    def _transaction(self) -> Step:
        rng = self.rng
        parts = []
        for _ in range(rng.randrange(2, 5)):
            index = rng.randrange(JOURNALS)
            parts.append(
                Part(READ, self._key("j", index))
                if rng.random() < 0.4
                else self._appending(index, self._fresh())
            )
        return _multi(parts)

    def _pipeline(self) -> Step:
        """Several independent commands in one piece."""
        commands: list[Command] = []
        parts: list[Part] = []
        for _ in range(self.rng.randrange(2, 6)):
            more, told = self.rng.choice(
                (self._set, self._get, self._append, self._read, self._increase)
            )()
            commands += more
            parts += told
        return commands, parts

    # ----------------------------------------------------------------- counters, expiry

    def _increase(self) -> Step:
        key = self._key("c", self.rng.randrange(COUNTERS))
        k = key.encode()
        return [self.rng.choice(((b"INCR", k), (b"INCRBY", k, b"1"), (b"DECRBY", k, b"-1")))], [
            Part(INCREASE, key)
        ]

    def _count_it(self) -> Step:
        part = Part(COUNT, self._key("c", self.rng.randrange(COUNTERS)))
        return [_command(part)], [part]

    def _leased(self) -> Step:
        if self.keeps is not None and self.keeps.random() < 0.4:
            return self._kept(self.keeps)
        key, value = self._key("e", self.rng.randrange(LEASES)), self._fresh()
        ttl = str(self.rng.choice((50, 300, 1500, 6000))).encode()
        k, v = key.encode(), value.encode()
        return [self.rng.choice(((b"SET", k, v, b"PX", ttl), (b"PSETEX", k, ttl, v)))], [
            Part(LEASED, key, value)
        ]

    def _kept(self, rng: Random) -> Step:
        key = self._key("e", rng.randrange(LEASES))
        k, ttl = key.encode(), str(rng.choice((20, 200, 6000))).encode()
        command: Command = rng.choice(
            (
                (b"PERSIST", k),
                (b"PEXPIRE", k, ttl),
                (b"PEXPIRE", k, ttl, b"GT"),
                (b"GETEX", k, b"PERSIST"),
                (b"GETEX", k, b"PX", ttl),
            )
        )
        return [command], [
            Part(LOOK, key) if command[0] == b"GETEX" else Part(ANY, "", command[0].decode())
        ]

    def _look(self) -> Step:
        part = Part(LOOK, self._key("e", self.rng.randrange(LEASES)))
        return [_command(part)], [part]


def _command(part: Part) -> Command:
    if part.kind == APPEND:
        assert part.value is not None
        return b"APPEND", part.key.encode(), part.value.encode()
    return b"GET", part.key.encode()


def _multi(parts: list[Part]) -> Step:
    return [(b"MULTI",), *map(_command, parts), (b"EXEC",)], parts


class Anything:
    """Commands of the whole table with edge-case arguments, from the rows' key specifications."""

    def __init__(self, client: int, rng: Random) -> None:
        self.rng = rng
        self.rows = [row for name, row in sorted(build_table().items()) if _is_asked(name, row)]

    def next(self) -> Step:
        rng = self.rng
        row = rng.choice(self.rows)
        size = row.arity if row.arity > 0 else -row.arity + rng.choice((0, 0, 1, 2, 3))
        argv = [row.name]
        last = row.last if row.last >= 0 else size - 1
        for at in range(1, size):
            is_key = row.first and row.first <= at <= last and (at - row.first) % row.step == 0
            argv.append(
                f"f:{rng.randrange(OTHERS)}".encode()
                if is_key or rng.random() < 0.1
                else rng.choice(_WORDS)
            )
        return [tuple(argv)], [Part(ANY, "", row.name.decode())]


def _is_asked(name: bytes, row: Row) -> bool:
    if name in _LEFT_OUT or row.container or row.flags & (ADMIN | BLOCKING | PUBSUB | NO_MULTI):
        return False
    return row.first > 0 or name in _KEYLESS
