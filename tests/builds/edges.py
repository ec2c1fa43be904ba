"""`python -m tests.builds.edges [--build] [ROW...]`: the edge arguments of every command, on an
engine of this process' build; a line for each result.

Decides: which arguments are tried and what is compared (reply, effects, changed keys, errors of the
program, the state at the end).
Must not know: the other build. The same lines must come from both builds: nothing here depends on
time, on chance or on the process.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from zlib import crc32

import memstore.engine.engine
from memstore.engine.command import Row
from memstore.engine.settings import Settings
from tests.commands.samples import SETTING
from tests.commands.test_command_table import all_rows, all_samples
from tests.engine.harness import Harness

EDGES = (
    *(b"", b"0", b"1", b"-1", b"2", b"-3", b"5", b"-100", b"100", b"007", b"+1", b"-0"),
    *(b" 1", b"1 ", b"1_0", b"0x10", b"x"),
    *(b"%d" % (2**63 + by) for by in (-1, 0, 1)),
    *(b"-%d" % (2**63 + by) for by in (-1, 0, 1)),
    *(b"%d" % 2**64, b"9" * 5000, b"-" + b"9" * 5000),
    *(b"1.5", b".5", b"5.", b"1e400", b"1e-400", b"inf", b"-inf", b"+inf", b"nan", b"0x1p-3"),
    *(b"0.30000000000000004", b"(1", b"[a", b"(", b"[", b"-", b"+"),
    *(b"\x00\xff\r\n", b"\xc3", b"a" * 70, b"*", b"[", b"\\", b"none", b"s", b"n", b"f", b"e"),
    *(b"list", b"hash", b"set", b"zset", b"ints", b"WITHSCORES", b"LIMIT", b"COUNT"),
)
TYPES = (
    "RPUSH list a b 1 2 a", "HSET hash f v n 10 f2 1.5", "SADD set a b c", "SADD ints 1 2 3",
    "ZADD zset 1 a 2 b 2 c inf d", "SET long 0123456789", "SET bin \x00\x7f",
)  # fmt: skip
# these tell of the process
LEFT_OUT = frozenset(
    (b"INFO", b"MEMORY|USAGE", b"MEMORY|STATS", b"MEMORY|DOCTOR", b"CLIENT|INFO", b"CLIENT|LIST")
)
FAILED = "an error of the program"
# of two neighbouring arguments: a start behind its end, too
PAIRS = (b"0", b"-1", b"5", b"2", b"-100")


def words_of(row: Row, samples: dict[str, tuple[tuple[str, ...], ...]]) -> list[list[list[bytes]]]:
    """A row's sample commands, the last one of each being the row's own."""
    name = row.name.decode()
    if name in samples:
        return [
            [[b"" if word == "''" else word.encode() for word in line.split()] for line in sample]
            for sample in samples[name]
        ]
    words = row.name.split(b"|")
    return [[[*words, *[b"s"] * max(0, abs(row.arity) - len(words))]]]


def variants(row: Row, words: list[bytes]) -> Iterator[list[bytes]]:
    """The command with each argument replaced by each edge, neighbours replaced together, one
    argument too few and one too many, and in another order.
    """
    first = len(row.name.split(b"|"))
    yield words
    yield words[: max(first, len(words) - 1)]
    yield [*words, b"x"]
    yield [words[0].lower(), *words[1:], b"1", b"2"]
    for at in range(first, len(words)):
        for edge in EDGES:
            yield [*words[:at], edge, *words[at + 1 :]]
    for at in range(first, len(words) - 1):
        for one in PAIRS:
            for two in PAIRS:
                yield [*words[:at], one, two, *words[at + 2 :]]
        yield [*words[:at], words[at + 1], words[at], *words[at + 2 :]]


def tried(h: Harness, argv: list[bytes]) -> str:
    try:
        answer = h.run(*argv)
    except Exception as error:
        h.context.unit.clear()
        return f"{FAILED}: {type(error).__name__}"
    finally:
        h.engine.requests.clear()
    text = b"" if answer is None else answer
    effects = repr(h.effects).encode() + repr(sorted(h.changed)).encode()
    return f"{crc32(text):08x} {crc32(effects):08x} {text[:60]!r}"


def lines(names: frozenset[bytes] = frozenset()) -> Iterator[str]:
    """``names``: only these rows."""
    samples = all_samples()
    for row in all_rows():
        if row.name in LEFT_OUT or (names and row.name not in names):
            continue
        h = Harness(settings=Settings())
        for sample in words_of(row, samples):
            for number, argv in enumerate(variants(row, sample[-1])):
                if number % 16 == 0:
                    h.lines(*SETTING, *TYPES)
                if number % 4 == 0:
                    for before in sample[:-1]:
                        h.run(*before)
                shown = b" ".join(argv)
                yield f"{shown[:100]!r} {len(shown)}: {tried(h, argv)}"
        yield f"{row.name.decode()}: state {h.digest().hex()}"


if __name__ == "__main__":
    words = sys.argv[1:]
    if words[:1] == ["--build"]:
        print(memstore.engine.engine.__file__)
        del words[0]
    for told in lines(frozenset(name.encode() for name in words)):
        print(told)
