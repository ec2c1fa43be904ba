"""A caller that never sealed sends any message that the wire can carry.

The node lives, the writer keeps its window, and no committed entry changes. The driver and the
store are real. Messages go through the wire's bytes, so a socket could have brought each of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from tests.txlog.service.harness import Ears, eventually
from tests.txlog.storage.helpers import SEGMENT, contents, make_run
from txlog import messages as m
from txlog.entry import GENESIS_CHAIN, NO_ENTRY, Entry, make_entry
from txlog.messages import Append, Appended, Message, Renew, Renewed, Seal
from txlog.server.driver import LogDriver
from txlog.server.session import CallerSession
from txlog.storage.store import LogStore
from txlog.wire import Decoder, encode

WRITER, ROUND = b"i" * 16, b"r" * 16
FOREIGN = b"f" * 16
COMMITTED = 12
SAID_BYTES = 64 << 20


class Place:
    """A log node's log with a living writer: 12 committed entries, 2 more on disk.
    Time stands still, so its window stays open.
    """

    def __init__(self, path: Path) -> None:
        self.halts: list[str] = []
        self.now = 1_000_000
        self.store = LogStore.open(
            path, "shard-0", b"g" * 16, "a", segment_bytes=SEGMENT, threaded=False
        )
        self.driver = LogDriver(
            "shard-0",
            self.store,
            ["b", "c"],
            random.Random(1),
            lambda: self.now,
            self.halts.append,
            ThreadPoolExecutor(1),
        )
        self.driver.start()
        self.entries = make_run(COMMITTED + 2)
        self.ears = Ears()
        self.writer = CallerSession(self.driver, self.ears)

    async def lead(self) -> None:
        self.writer.on_messages(
            [
                Seal(1, WRITER, ROUND, NO_ENTRY, 1000, False),
                self.append(1, COMMITTED + 2, COMMITTED),
            ]
        )
        await eventually(lambda: any(isinstance(answer, Appended) for answer in self.ears.heard))

    def append(self, first: int, upto: int, committed: int) -> Append:
        before = self.entries[first - 2] if first > 1 else None
        encoded = [entry.encoded for entry in self.entries[first - 1 : upto]]
        return Append(
            1,
            WRITER,
            ROUND,
            1000,
            1,
            before.id if before else NO_ENTRY,
            before.chain if before else GENESIS_CHAIN,
            committed,
            encoded,
        )

    def untouched(self) -> None:
        acceptor = self.driver._acceptor
        assert self.halts == []
        assert (acceptor.promise.term, acceptor.promise.ballot_id) == (1, ROUND)
        assert acceptor.window_writer == WRITER and acceptor.window_left_ms(self.now) > 0
        assert (
            acceptor.committed == COMMITTED
            and acceptor.last == self.entries[-1].id
            and acceptor.suspicion is None
        )
        assert contents(self.store) == [entry.encoded for entry in self.entries]


NUMBERS = [
    0,
    1,
    2,
    3,
    COMMITTED,
    COMMITTED + 1,
    COMMITTED + 2,
    COMMITTED + 3,
    1000,
    1 << 31,
    1 << 32,
    (1 << 32) + 1,
    1 << 62,
    (1 << 63) - 1,
    1 << 63,
    (1 << 64) - 1,
]
TEXTS = [
    "",
    "shard-0",
    "../../etc",
    "a/b",
    "nul\0nul",
    "x" * 10_000,
    "é" * 100,
    "a=127.0.0.1:1",
    "=",
    "a=b=c",
]
KINDS = [kind for kind in get_args(m.Message) if kind.__name__ != "Subscribe"]


def hostile(rng: random.Random, entries: list[Entry]) -> Message:
    """A message with any values: some are those of a writer, most are not."""
    kind = rng.choice(
        [*KINDS, *[Append] * 8, *[Seal, Renew, m.Release, m.CatchUp, m.Fetch, m.TailQuery] * 2]
    )
    hints = get_type_hints(kind)
    chains = [entry.chain for entry in entries] + [
        GENESIS_CHAIN,
        bytes(15),
        b"",
        rng.randbytes(16),
        rng.randbytes(5000),
    ]
    makers: dict[object, Callable[[], Any]] = {
        int: lambda: rng.choice([*NUMBERS, rng.getrandbits(64)]),
        bool: lambda: rng.random() < 0.5,
        bytes: lambda: rng.choice([*chains, FOREIGN, b"f"]),
        str: lambda: rng.choice(TEXTS),
        tuple[int, int]: lambda: rng.choice(
            [rng.choice(entries).id, (rng.choice(NUMBERS), rng.choice(NUMBERS))]
        ),
        list[bytes]: lambda: some_entries(rng, entries),
        list[str]: lambda: [rng.choice(TEXTS) for _ in range(rng.randrange(4))],
    }
    return kind(*[makers[hints[field.name]]() for field in fields(kind)])


def some_entries(rng: random.Random, entries: list[Entry]) -> list[bytes]:
    start = rng.randrange(len(entries))
    made = make_entry(
        rng.choice(NUMBERS[:8]),
        rng.choice([1, 2, 1 << 63]),
        rng.randrange(8),
        0,
        rng.choice(entries).chain,
        b"forged",
    )
    choice: list[list[bytes]] = [
        [], [entry.encoded for entry in entries[start:]], [made.encoded],
        [entries[start].encoded, made.encoded], [b""] * 1000, [rng.randbytes(60)],
        [entries[start].encoded[:-1]], [entries[start].encoded] * 3,
    ]  # fmt: skip
    return rng.choice(choice)


@pytest.mark.parametrize("seed", range(12))
async def test_a_session_that_never_sealed_harms_nobody(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    place = Place(tmp_path / "log")
    await place.lead()
    place.untouched()
    decoder = Decoder()
    for _ in range(40):
        ears = Ears()
        session = CallerSession(place.driver, ears)
        for _ in range(10):
            messages = decoder.feed(
                b"".join(encode(hostile(rng, place.entries)) for _ in range(rng.randrange(1, 4)))
            )
            session.on_messages(messages)
            assert place.halts == []
            assert sum(len(encode(answer)) for answer in ears.heard) < SAID_BYTES
        session.close()
    await eventually(lambda: not place.driver.disk_busy())
    place.untouched()
    place.ears.heard.clear()
    place.writer.on_messages(
        [
            Renew(1, WRITER, ROUND, 1000, 9),
            place.append(COMMITTED + 3, COMMITTED + 2, COMMITTED + 2),
        ]
    )
    await eventually(lambda: any(isinstance(answer, Appended) for answer in place.ears.heard))
    assert any(isinstance(answer, Renewed) for answer in place.ears.heard), "the writer goes on"
    await place.driver.close()


async def test_only_another_log_node_may_fence(tmp_path: Path) -> None:
    """S4's fence is a promise of a higher term. Earlier, two of them by any reader ended a
    writer.
    """
    place = Place(tmp_path / "log")
    await place.lead()
    fence = m.Fetch(1, 1, 0, True, 2)
    CallerSession(place.driver, Ears()).on_messages(
        [m.Fetch(1, 1, 0, True, 2), m.Subscribe(1), fence]
    )
    place.untouched()
    CallerSession(place.driver, Ears(), may_fence=True).on_messages([m.Fetch(1, 1, 0, True, 2)])
    assert place.driver._acceptor.promise.term == 2
    await eventually(lambda: not place.driver.disk_busy())
    await place.driver.close()
