"""Odd spellings of numbers, and numbers of any length, in every place of every command: an answer,
never an error of the program.

What Redis refuses is refused in its words: `test_against_redis` holds the same calls against a real
server.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from memstore.commands import build_table
from memstore.config import ConfigError, load
from memstore.engine.engine import Engine
from memstore.engine.reply import error
from memstore.engine.settings import MEMORY as MEMORY_KIND
from memstore.engine.settings import NUMBER, PERCENTILES, TABLE, Settings
from tests.commands.realredis import RawClient, real_redis
from tests.commands.samples import SETTING
from tests.commands.test_command_table import ROWS, SAMPLE, call_parts
from tests.engine.harness import Harness
from txlog.address import AddressError, parse_host_port

MANY = b"1" * 5000
ODD = (MANY, b"12345678901234567890", b"1_0", b" 1", b"+1", "\u0661".encode(), b"0x" + b"f" * 5000)

# They answer by chance, or by what only one node knows, or they end the client.
NOT_COMPARED = {
    "RANDOMKEY",
    "SRANDMEMBER",
    "SPOP",
    "HRANDFIELD",
    "ZRANDMEMBER",
    "LOLWUT",
    "OBJECT|FREQ",
    "MEMORY|USAGE",
    "SHARD|DIGEST",
}


def ordinary(name: str) -> list[tuple[tuple[str, ...], list[bytes]]]:
    """What prepares a database, and an ordinary call."""
    row = ROWS[name]
    found = [
        (sample[:-1], [part.encode() for part in sample[-1].split()])
        for sample in SAMPLE.get(name, ())[:3]
    ]
    if not found:
        words = call_parts(row)
        least = abs(row.arity) - len(words)
        found = [
            ((), words + [b"1"] * count)
            for count in ([least] if row.arity > 0 else [least, least + 1, least + 2, least + 3])
        ]
    return found


def odd_calls(name: str) -> list[tuple[tuple[str, ...], list[bytes]]]:
    """Each call with an odd text in the place of each argument,
    and at the end if more arguments fit.
    """
    row, found = ROWS[name], []
    words = len(call_parts(row))
    for setup, argv in ordinary(name):
        places = range(words, len(argv) + (row.arity < 0))
        found += [
            (setup, [*argv[:place], odd, *argv[place + 1 :]]) for place in places for odd in ODD
        ]
    return found


def prepared(setup: tuple[str, ...]) -> Harness:
    h = Harness()
    h.lines(*SETTING, *setup)
    return h


@pytest.mark.parametrize("name", sorted(ROWS))
def test_an_odd_number_in_any_place_is_answered(name: str) -> None:
    h, before = None, None
    for setup, argv in odd_calls(name):
        if h is None or setup != before or h.units:
            h, before = prepared(setup), setup
            h.units.clear()
        answer = h.run(*argv)  # raises for anything but a CommandError
        assert answer is None or answer[-2:] == b"\r\n", argv
        if h.session.multi is not None or h.engine.monitors:
            h = None


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RawClient]:
    with real_redis(tmp_path_factory.mktemp("redis")) as port:
        client = RawClient(port)
        yield client
        client.close()


@pytest.mark.redis
@pytest.mark.parametrize(
    "name",
    sorted(
        name
        for name in SAMPLE
        if name in ROWS and name not in NOT_COMPARED and not name.startswith("DEBUG")
    ),
)
def test_what_redis_refuses_is_refused_in_its_words(name: str, redis: RawClient) -> None:
    h, before = Harness(), None
    for setup, argv in odd_calls(name):
        if setup != before or h.units:
            h, before = prepared(setup), setup
            h.units.clear()
            lines = [tuple(part.encode() for part in line.split()) for line in (*SETTING, *setup)]
            redis.pipeline([(b"SELECT", b"0"), (b"FLUSHALL",), *lines])
        theirs, ours = redis.run(*argv), h.run(*argv)
        assert ours is not None
        if ours[:1] == b"-" or theirs[:1] == b"-":
            assert ours == theirs, argv


@pytest.mark.parametrize("name", sorted(name for name, row in TABLE.items() if row.runtime))
def test_config_set_takes_no_number_of_any_length(name: str) -> None:
    row = TABLE[name]
    for odd in ODD:
        if row.kind == PERCENTILES and odd in (b" 1", b"+1"):
            continue  # a list of doubles: a blank and a plus are good
        h = Harness()
        answer = h.run(b"CONFIG", b"SET", name.encode(), odd)
        assert answer is not None
        if row.kind in (NUMBER, MEMORY_KIND, PERCENTILES):
            assert answer.startswith(
                b"-ERR CONFIG SET failed (possibly related to argument '%b') - " % name.encode()
            ), (odd[:20], answer)


def test_config_set_says_what_redis_says() -> None:
    h = Harness()
    no_integer = b"argument couldn't be parsed into an integer"
    no_memory = b"argument must be a memory value"
    for name, value, text in (
        (b"maxclients", MANY, no_integer),
        (b"maxclients", b"1_0", no_integer),
        (b"maxclients", b" 1", no_integer),
        (b"maxclients", b"+1", no_integer),
        (b"maxclients", b"0100", no_integer),
        (b"proto-max-bulk-len", MANY, no_memory),
        (b"proto-max-bulk-len", b"9" * 128, no_memory),
        (b"proto-max-bulk-len", b"+1mb", no_memory),
        (
            b"latency-tracking-info-percentiles",
            b"1_0",
            b"Invalid latency-tracking-info-percentiles parameters",
        ),
    ):
        answer = h.run(b"CONFIG", b"SET", name, value)
        assert answer == error(
            f"ERR CONFIG SET failed (possibly related to argument '{name.decode()}') - "
            f"{text.decode()}"
        ), (name, value[:20])


def test_a_settings_file_with_a_number_of_any_length_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "memstore.toml"
    for text in (
        "maxclients = " + "1" * 5000,
        "maxclients = 0x" + "f" * 5000,
        f'maxclients = "{"1" * 5000}"',
        "maxclients = " + "[" * 5000,
        f'maxclients = "{"x" * 5000}"',
    ):
        path.write_text(text + "\n")
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert len(str(caught.value)) < 1000
    with pytest.raises(ConfigError):
        load(None, {"maxclients": "1" * 5000})
    with pytest.raises(AddressError):
        parse_host_port("host:" + "1" * 5000, 1)


def test_a_select_of_the_log_names_a_database_of_this_node() -> None:
    engine = Engine(Settings(), Random(1), build_table())
    for text in (b"16", b"-1", b"1_0", b"+1", MANY):
        with pytest.raises(Exception, match=r"SELECT .*: no database of this node"):
            engine.apply(b"*2\r\n$6\r\nSELECT\r\n$%d\r\n%b\r\n" % (len(text), text), 0)
