"""SHUTDOWN, TIME, the dumps there are not, MEMORY and DEBUG."""

from __future__ import annotations

import pytest

from memstore.engine.access import DEBUG_REFUSED
from memstore.engine.reply import error
from memstore.engine.requests import AbortShutdown, Shutdown, Sleep
from memstore.engine.settings import Settings
from tests.commands.node.harness import NOW_MS, Client, Node
from tests.engine.harness import Harness


@pytest.mark.parametrize(
    ("line", "now", "force"),
    [
        ("", False, False),
        ("NOSAVE", False, False),
        ("save now", True, False),
        ("FORCE", False, True),
        ("NOW FORCE NOSAVE", True, True),
    ],
)
def test_shutdown_is_asked_of_the_node(
    node: Node, client: Client, line: str, now: bool, force: bool
) -> None:
    assert client.line(f"SHUTDOWN {line}") == b"", (
        "no reply: the end of the connection is the answer"
    )
    assert node.engine.requests == [Shutdown(client.session, now, force)]


@pytest.mark.parametrize("line", ["SAVE NOSAVE", "ABORT NOW", "LATER"])
def test_shutdown_options_that_make_no_sense(node: Node, client: Client, line: str) -> None:
    assert client.ask(f"SHUTDOWN {line}") == "-ERR syntax error"
    assert node.engine.requests == []


def test_shutdown_abort(node: Node, client: Client) -> None:
    assert client.ask("SHUTDOWN ABORT") == "-ERR No shutdown in progress."
    node.engine.shutting_down = True
    assert client.ask("SHUTDOWN ABORT") == "OK"
    assert node.engine.requests == [AbortShutdown()]


def test_time_is_the_time_given(client: Client) -> None:
    assert client.ask("TIME") == ["1700000000", "123000"]


def test_there_are_no_dumps(client: Client) -> None:
    for line in ("SAVE", "BGSAVE", "BGSAVE SCHEDULE", "BGREWRITEAOF"):
        assert client.ask(line).startswith("-ERR memstore takes no dumps")
    assert client.ask("LASTSAVE") == NOW_MS // 1000 - 60


def test_lolwut_draws_and_tells_the_version(client: Client) -> None:
    text = client.ask("LOLWUT 4")
    assert text.splitlines()[:4] == ["   o", "  o o", " o   o", "o o o o"]
    assert "Redis ver. 7.0.15" in text
    assert len(client.ask("LOLWUT VERSION 5 1000000").splitlines()) < 100
    assert client.ask("LOLWUT x") == "-ERR value is not an integer or out of range"


# --------------------------------------------------------------------------- MEMORY


def test_memory_usage_grows_with_key_and_value(node: Node, client: Client) -> None:
    database = node.engine.keyspace.database(0)
    for key, value in ((b"small", b"x"), (b"large", b"x" * 10_000), (b"expires", b"x")):
        database.put(key, value)
    database.set_expire(b"expires", NOW_MS + 1000)
    small, large, expires = (
        client.ask(f"MEMORY USAGE {key}") for key in ("small", "large", "expires")
    )
    assert 60 < small < 500
    assert large - small == 9_999
    assert expires > small
    assert client.ask("MEMORY USAGE small SAMPLES 0") == small
    assert client.line("MEMORY USAGE nosuch") == b"$-1\r\n"


def test_memory_usage_does_not_show_an_expired_key(node: Node, client: Client) -> None:
    database = node.engine.keyspace.database(0)
    database.put(b"k", b"x")
    database.set_expire(b"k", NOW_MS - 1)
    assert client.ask("MEMORY USAGE k") is None


def test_memory_stats_and_doctor(node: Node, client: Client) -> None:
    facts = node.engine.facts
    node.engine.keyspace.database(0).put(b"k", b"x")
    facts.rss_bytes = 50 << 20
    client.line("HELLO 3")
    stats = client.ask("MEMORY STATS")
    assert (stats["total.allocated"], stats["keys.count"], stats["keys.bytes-per-key"]) == (
        50 << 20,
        1,
        50 << 20,
    )
    assert stats["db.0"]["overhead.hashtable.main"] > 0
    assert client.ask("MEMORY DOCTOR").endswith("Nothing looks wrong about this node's memory.\n")
    facts.uncommitted_bytes = 60 << 20
    assert "slower than the clients" in client.ask("MEMORY DOCTOR")


# --------------------------------------------------------------------------- DEBUG


@pytest.mark.parametrize(
    ("mode", "address", "allowed"),
    [
        ("local", "127.0.0.1:5", True),
        ("local", "127.9.0.1:5", True),
        ("local", "[::1]:5", True),
        ("local", "10.0.0.1:5", False),
        ("local", "1270.0.0.1:5", False),
        ("local", "[::10]:5", False),
        ("yes", "10.0.0.1:5", True),
        ("no", "127.0.0.1:5", False),
    ],
)
def test_who_may_debug(mode: str, address: str, allowed: bool) -> None:
    node = Node(enable_debug_command=mode)
    client = node.connect(address)
    assert client.ask("DEBUG") == "-ERR wrong number of arguments for 'debug' command"
    for text in ("DEBUG NOSUCH", "DEBUG SLEEP"):
        assert str(client.ask(text)).startswith("-ERR DEBUG command not allowed.") is not allowed, (
            text
        )
    for sub in node.engine.table[b"DEBUG"].subcommands:
        line = (
            f"DEBUG {sub.decode()} x"
            if sub not in (b"DIGEST", b"HELP")
            else f"DEBUG {sub.decode()}"
        )
        refused = str(client.ask(line)).startswith("-ERR DEBUG command not allowed.")
        assert refused is not allowed, line


def test_debug_is_off_by_default_and_no_client_can_turn_it_on() -> None:
    assert Settings().enable_debug_command == "no"
    node = Node(enable_debug_command="no")
    client = node.connect("127.0.0.1:5")
    assert (
        client.ask("DEBUG SLEEP 3600").startswith("-ERR DEBUG command not allowed.")
        and node.engine.requests == []
    )
    refused = (
        "-ERR CONFIG SET failed (possibly related to argument 'enable-debug-command') - can't "
        "set immutable config"
    )
    assert client.ask("CONFIG SET enable-debug-command yes") == refused


def test_a_transaction_with_a_debug_that_is_refused_does_not_run() -> None:
    h = Harness(settings=Settings(enable_debug_command="no"))
    answers = h.lines("MULTI", "SET a 1", "DEBUG SLEEP 0", "EXEC")
    assert answers[2] == error(DEBUG_REFUSED)
    assert (
        answers[3] == b"-EXECABORT Transaction discarded because of previous errors.\r\n"
        and h.units == []
    )


def test_debug_sleep(node: Node, client: Client) -> None:
    assert client.ask("DEBUG SLEEP 0.25") == "OK"
    assert node.engine.requests == [Sleep(250_000)]
    for nothing in ("0", "-1", "x", "nan"):
        assert client.ask(f"DEBUG SLEEP {nothing}") == "OK"
    assert len(node.engine.requests) == 1
    client.line("DEBUG SLEEP inf")
    assert node.engine.requests[1] == Sleep(3_600_000_000)


def test_debug_set_active_expire(node: Node, client: Client) -> None:
    client.line("DEBUG SET-ACTIVE-EXPIRE 0")
    assert not node.engine.active_expire
    client.line("DEBUG SET-ACTIVE-EXPIRE 1")
    assert node.engine.active_expire


def test_debug_digests_follow_the_data(node: Node, client: Client) -> None:
    assert client.ask("DEBUG DIGEST") == "0" * 40
    database = node.engine.keyspace.database(0)
    database.put(b"a", b"1")
    one = client.ask("DEBUG DIGEST")
    database.put(b"b", b"1")
    assert len({one, client.ask("DEBUG DIGEST"), "0" * 40}) == 3
    a, b, missing = client.ask("DEBUG DIGEST-VALUE a b nosuch")
    assert a == b != missing == "0" * 40
    database.remove(b"b")
    assert client.ask("DEBUG DIGEST") == one


def test_debug_object(node: Node, client: Client) -> None:
    node.engine.keyspace.database(0).put(b"k", b"12345")
    assert client.ask("DEBUG OBJECT k").startswith(
        "Value at:0x0 refcount:1 encoding:int serializedlength:5 lru:"
    )
    assert client.ask("DEBUG OBJECT nosuch") == "-ERR no such key"


def test_debug_protocol_in_resp3(client: Client) -> None:
    client.line("HELLO 3")
    assert client.line("DEBUG PROTOCOL attrib").startswith(
        b"|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n$39\r\n"
    )
    assert client.line("DEBUG PROTOCOL push").startswith(
        b">2\r\n$16\r\nserver-cpu-usage\r\n:42\r\n$40\r\n"
    )
