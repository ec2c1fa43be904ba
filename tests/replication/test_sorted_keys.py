"""SORT reads keys that no argument names.
An uncommitted change of one of them holds the reply; changes of other keys do not.
"""

from __future__ import annotations

import pytest

from tests.replication.test_shard import Node


def ready(*commands: str) -> Node:
    node = Node()
    session = node.session()
    node.do(session, "RPUSH l 2 1", "MSET w_1 20 w_2 10", "HSET o_1 f x", *commands)
    node.commit()
    return node


@pytest.mark.parametrize(
    ("change", "read"),
    [
        ("SET w_1 5", "SORT l BY w_*"),
        ("SET w_1 5", "SORT_RO l BY w_*"),
        ("DEL w_2", "SORT l BY w_*"),  # absence is data
        ("SET w_1 5", "SORT l BY nosort GET w_*"),
        ("SET w_3 5", "SORT l BY nosort GET # GET w_* GET x_* GET w_3*"),
        ("HSET o_1 f y", "SORT l GET o_*->f"),
        ("HSET o_1 g y", "SORT l BY o_*->f"),
        ("RPUSH l 3", "SORT l"),
        ("DEL l", "SORT l"),
        ("SET w_1 text", "SORT l BY w_*"),  # an error reveals state
        ("SET w_1 text", "SORT l BY w_* STORE out"),
        ("DEL out", "SORT nothing STORE out"),  # a write that changed nothing is a read
        ("HSET h f v", "SORT h"),  # WRONGTYPE
        ("FLUSHALL", "SORT l BY w_*"),
    ],
)
def test_a_reply_waits_for_every_key_it_came_from(change: str, read: str) -> None:
    node = ready("SET out x")
    writer, reader = node.session(), node.session()
    if "w_3*" in read:
        node.do(writer, "RPUSH l 3")
        node.commit()
    assert node.do(writer, change) == b""
    assert node.do(reader, read) == b"", "shown before its commit"
    released = node.commit()
    assert released[reader.id]


@pytest.mark.parametrize(
    ("change", "read"),
    [
        ("SET w_3 5", "SORT l BY w_*"),
        ("SET w_1 5", "SORT l"),
        ("SET w_1 5", "SORT l BY nosort GET #"),
        ("SET w_ 5", "SORT l BY w_* GET constant"),
    ],
)
def test_a_reply_waits_for_nothing_else(change: str, read: str) -> None:
    node = ready()
    writer, reader = node.session(), node.session()
    assert node.do(writer, change) == b""
    assert node.do(reader, read)


def test_in_a_transaction_and_in_another_database() -> None:
    node = ready("SELECT 1", "RPUSH l 1", "SET w_1 3", "SELECT 0")
    writer, reader = node.session(), node.session()
    node.do(writer, "SELECT 1", "SET w_1 5")
    assert node.do(reader, "SORT l GET w_*"), "another database's key of the same name"
    node.do(reader, "MULTI", "SELECT 1", "PING", "SORT_RO l GET w_*")
    assert node.do(reader, "EXEC") == b""
    assert node.commit()[reader.id].endswith(b"*1\r\n$1\r\n5\r\n")


def test_keys_looked_at_are_forgotten_with_the_command() -> None:
    node = ready()
    reader, writer = node.session(), node.session()
    node.do(reader, "SORT l BY w_*")
    assert node.shard.context.looked == []
    node.do(writer, "SET w_1 5")
    assert node.do(reader, "SORT l") and node.do(reader, "GET w_2")


def test_what_is_stored_waits_for_its_own_entry() -> None:
    node = ready()
    writer = node.session()
    assert node.do(writer, "SORT l BY w_* STORE out") == b""
    position = node.append()
    reader = node.session()
    assert node.do(reader, "LRANGE out 0 -1") == b""
    released = node.commit(position)
    assert (
        released[writer.id] == b":2\r\n" and released[reader.id] == b"*2\r\n$1\r\n2\r\n$1\r\n1\r\n"
    )
