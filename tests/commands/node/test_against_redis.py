"""The same lines to a real redis-server and to us: the same bytes back."""

from __future__ import annotations

import shlex

import pytest

from memstore.commands.introspection import categories
from memstore.engine.command import FLAG_NAMES, Row
from tests.commands.node.harness import Client, Node, decoded
from tests.commands.realredis import RawClient

pytestmark = pytest.mark.redis

LINES = """
PING
PING hello
PING a b
ECHO x
ECHO
HELLO 4
HELLO x
HELLO 3 AUTH
HELLO 3 AUTH default foo
HELLO 3 AUTH a b
HELLO 3 SETNAME "a b"
HELLO 3 BLAH
HELLO 2 SETNAME foo
CLIENT GETNAME
CLIENT SETNAME ""
CLIENT GETNAME
CLIENT SETNAME "a b"
CLIENT NOSUCH
CLIENT
CLIENT ID x
CLIENT LIST TYPE foo
CLIENT LIST TYPE replica
CLIENT LIST ID 999
CLIENT LIST ID x
CLIENT LIST ID
CLIENT LIST ID 0
CLIENT LIST FOO bar
CLIENT LIST FOO
CLIENT REPLY FOO
CLIENT REPLY ON
CLIENT NO-EVICT x
CLIENT NO-EVICT on
CLIENT NO-EVICT off
CLIENT KILL 1.2.3.4:1
CLIENT KILL ID x
CLIENT KILL ID 0
CLIENT KILL ID -1
CLIENT KILL ID 99999
CLIENT KILL TYPE foo
CLIENT KILL TYPE master
CLIENT KILL USER foo
CLIENT KILL SKIPME x
CLIENT KILL SKIPME yes
CLIENT KILL ADDR
CLIENT KILL ADDR 1:2 LADDR
CLIENT KILL LADDR 1:2
CLIENT KILL FOO bar
CLIENT PAUSE x
CLIENT PAUSE -1
CLIENT PAUSE 1 FOO
CLIENT PAUSE x FOO
CLIENT PAUSE 1 WRITE
CLIENT PAUSE 99999999999999999999
CLIENT UNPAUSE
CLIENT GETREDIR
CLIENT TRACKINGINFO
AUTH foo
AUTH default foo
AUTH a b
AUTH a b c
AUTH
CONFIG
CONFIG GET
CONFIG GET hz
CONFIG GET HZ
CONFIG GET hz hz
CONFIG GET nosuch
CONFIG GET maxclien*
CONFIG GET save
CONFIG GET [h]z
CONFIG GET client-output-buffer-limit
CONFIG SET client-output-buffer-limit normal
CONFIG SET client-output-buffer-limit 'replica 1gb 2mb 30 pubsub 3 2 1'
CONFIG GET client-output-buffer-limit
CONFIG SET client-output-buffer-limit 'normal 0 0 -1'
CONFIG SET client-output-buffer-limit 'master 0 0 0'
CONFIG SET client-output-buffer-limit 'normal 1x 0 0'
CONFIG SET client-output-buffer-limit ''
CONFIG GET client-output-buffer-limit
CONFIG SET client-output-buffer-limit 'normal 0 0 0 slave 256mb 64mb 60 pubsub 32mb 8mb 60'
CONFIG SET
CONFIG SET a
CONFIG SET a b
CONFIG SET maxclients
CONFIG SET maxclients x
CONFIG SET databases 99
CONFIG SET protected-mode maybe
CONFIG SET proto-max-bulk-len 1x
CONFIG SET proto-max-bulk-len 1
CONFIG SET proto-max-bulk-len -1
CONFIG SET proto-max-bulk-len 2mb
CONFIG GET proto-max-bulk-len
CONFIG SET proto-max-bulk-len 512mb
CONFIG SET hz 10 hz 11
CONFIG SET hz 10 hz
CONFIG SET hz 20 nosuch 11
CONFIG SET hz 20 maxclients x
CONFIG GET hz
CONFIG SET slowlog-max-len -1
CONFIG SET slowlog-max-len 99999999999999999999999
CONFIG SET latency-tracking-info-percentiles 101
CONFIG SET latency-tracking-info-percentiles x
CONFIG SET latency-tracking-info-percentiles "50 90"
CONFIG SET appendfsync always
CONFIG SET requirepass ""
CONFIG RESETSTAT
CONFIG REWRITE
CONFIG FOO
COMMAND INFO nosuch
COMMAND INFO get
COMMAND DOCS nosuch
COMMAND GETKEYS
COMMAND GETKEYS get
COMMAND GETKEYS get a
COMMAND GETKEYS get a b
COMMAND GETKEYS ping x
COMMAND GETKEYS nosuch a
COMMAND GETKEYS mset a 1 b 2
COMMAND GETKEYS memory usage k
COMMAND GETKEYS object encoding k
COMMAND GETKEYS object nosuch k
COMMAND GETKEYS client id
COMMAND GETKEYSANDFLAGS get a
COMMAND LIST FILTERBY ACLCAT foo
COMMAND LIST FILTERBY MODULE foo
COMMAND LIST FILTERBY FOO x
COMMAND LIST FOO
COMMAND FOO
ROLE
ROLE x
TIME x
INFO nosuch
LASTSAVE x
BGSAVE foo
BGREWRITEAOF x
MEMORY
MEMORY USAGE nosuch
MEMORY USAGE nosuch SAMPLES
MEMORY USAGE nosuch SAMPLES x
MEMORY USAGE nosuch SAMPLES -1
MEMORY USAGE nosuch SAMPLES 5
MEMORY PURGE
MEMORY FOO
LATENCY LATEST
LATENCY HISTORY foo
LATENCY RESET
LATENCY RESET command
LATENCY GRAPH foo
LATENCY HISTOGRAM nosuch
LATENCY FOO
SLOWLOG GET x
SLOWLOG GET -2
SLOWLOG GET -1
SLOWLOG GET 0
SLOWLOG GET 1 2
SLOWLOG LEN
SLOWLOG RESET
SHUTDOWN ABORT
SHUTDOWN FOO
SHUTDOWN SAVE NOSAVE
SHUTDOWN ABORT NOW
DEBUG
DEBUG SLEEP 0
DEBUG SLEEP x
DEBUG OBJECT nosuch
DEBUG DIGEST
DEBUG DIGEST-VALUE nosuch
DEBUG SET-ACTIVE-EXPIRE 0
DEBUG SET-ACTIVE-EXPIRE 1
DEBUG ERROR abc
DEBUG PROTOCOL foo
DEBUG QUICKLIST-PACKED-THRESHOLD 100b
DEBUG QUICKLIST-PACKED-THRESHOLD x
DEBUG QUICKLIST-PACKED-THRESHOLD 0
DEBUG QUICKLIST-PACKED-THRESHOLD 5gb
DEBUG PROTOCOL string
DEBUG PROTOCOL integer
DEBUG PROTOCOL double
DEBUG PROTOCOL bignum
DEBUG PROTOCOL null
DEBUG PROTOCOL array
DEBUG PROTOCOL set
DEBUG PROTOCOL map
DEBUG PROTOCOL verbatim
DEBUG PROTOCOL true
DEBUG PROTOCOL false
RESET
""".strip().splitlines()


# Flags that mean here what they mean there. When a row may run while the node restores, in scripts
# or in MULTI follows from how this node works, and BLOCKING from how the shard waits.
SHARED_FLAGS = {
    "write",
    "readonly",
    "denyoom",
    "admin",
    "pubsub",
    "fast",
    "no_auth",
    "skip_monitor",
    "skip_slowlog",
}


class Redis(RawClient):
    def line(self, text: str) -> bytes:
        return self.run(*[word.encode() for word in shlex.split(text)])


@pytest.mark.parametrize("protocol", [2, 3])
def test_replies_are_the_same(redis_port: int, protocol: int) -> None:
    redis, node = Redis(redis_port), Node(slowlog_log_slower_than_us=-1)
    ours = node.connect()
    redis.line("CONFIG SET slowlog-log-slower-than -1")
    redis.line("CONFIG SET appendfsync always")
    redis.line("CONFIG SET proto-max-bulk-len 512mb")
    redis.line("SLOWLOG RESET")
    different = []
    for text in LINES:
        for side in (redis, ours):
            side.line(f"HELLO {protocol}")
        expected, got = redis.line(text), ours.line(text)
        if text.startswith("HELLO"):  # the ids differ
            expected, got = _without_id(expected), _without_id(got)
        if text.startswith("COMMAND INFO"):  # arrays that stand for sets: in any order
            expected, got = _sorted(expected), _sorted(got)
        if expected != got:
            different.append((text, expected, got))
    assert not different, "\n".join(map(str, different))


def _without_id(answer: bytes) -> bytes:
    head, mark, tail = answer.partition(b"$2\r\nid\r\n")
    return head + mark + tail.partition(b"\r\n")[2]


def _sorted(answer: bytes) -> bytes:
    return b"".join(sorted(answer.split(b"\r\n")))


def test_rows_say_what_redis_says_of_them(redis_port: int) -> None:
    """Arity, key positions, flags and ACL categories of every row that Redis 7.0 has too."""
    redis, node = Redis(redis_port), Node()
    different = []
    for row in _rows(node):
        name = row.name.lower()
        told = decoded(redis.run(b"COMMAND", b"INFO", name))[0]
        # DEBUG's subcommands are rows here and not there
        if told is None or name.startswith(b"debug|"):
            continue
        arity, flags, (first, last, step), acl = told[1], set(told[2]), told[3:6], set(told[6])
        mine = {word for bit, word in FLAG_NAMES.items() if row.flags & bit}
        if row.arity != arity:
            different.append((name, "arity", row.arity, arity))
        if row.find_keys is None and (row.first, row.last, row.step) != (first, last, step):
            different.append((name, "keys", (row.first, row.last, row.step), (first, last, step)))
        if mine & SHARED_FLAGS != flags & SHARED_FLAGS:
            different.append((name, "flags", sorted(mine - flags), sorted(flags - mine)))
        if {"@" + word.decode() for word in categories(row)} - {"@blocking"} != acl - {"@blocking"}:
            different.append(
                (name, "categories", sorted(b"@" + word for word in categories(row)), sorted(acl))
            )
    assert not different, "\n".join(map(str, different))


def _rows(node: Node) -> list[Row]:
    rows = []
    for row in node.engine.table.values():
        rows += [row, *row.subcommands.values()]
    return [row for row in rows if row.flags or not row.container]


def test_a_client_line_has_redis_fields(redis_port: int, client: Client) -> None:
    expected = decoded(Redis(redis_port).line("CLIENT INFO"))
    fields = [field.split("=")[0] for field in expected.split()]
    assert [field.split("=")[0] for field in client.ask("CLIENT INFO").split()] == fields
