"""INFO's counts of replies that wait for a commit."""

from __future__ import annotations

import re

from memstore.engine.command import Row
from tests.replication.test_shard import Node


def shown(node: Node, field: str) -> int:
    """The field as INFO's handler makes it: the shard would hold the reply until the commit."""
    argv = [b"INFO", b"everything"]
    node.engine.context.bind(node.session(), node.wall_ms)
    row = node.engine.find(argv)
    assert isinstance(row, Row)
    text = node.engine.call(row, argv) or b""
    found = re.search(rb"\r\n%b:(\d+)\r\n" % field.encode(), text)
    assert found, field
    return int(found[1])


def test_replies_are_counted_while_they_are_held() -> None:
    node = Node()
    one, two = node.session(), node.session()
    assert shown(node, "log_held_replies") == 0
    node.do(one, "SET k v")
    node.do(two, "GET k")
    assert shown(node, "log_held_replies") == 2
    node.commit()
    assert shown(node, "log_held_replies") == 0


def test_reads_that_had_to_wait_are_counted() -> None:
    node = Node()
    one, two = node.session(), node.session()
    node.do(two, "GET k", "GET other")
    assert shown(node, "held_reads") == 0, "nothing is in flight"
    node.do(one, "SET k v")
    node.do(two, "GET k")
    node.do(two, "GET other")  # it waits for the reply before it
    node.do(node.session(), "GET other")
    assert shown(node, "held_reads") == 2
    node.do(node.session(), "DBSIZE")
    assert shown(node, "held_reads") == 3, "a read of the whole database waits too"
    node.commit()
    assert shown(node, "held_reads") == 3
    node.do(node.session(), "CONFIG RESETSTAT")
    assert shown(node, "held_reads") == 0
