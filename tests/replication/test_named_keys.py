"""A reply waits for an uncommitted change of each key that its command names.

The tests try every row, every sample and every key, for every kind of answer. They found a bug on
the first day: ZUNIONSTORE named its destination by position and its sources by number, and only the
destination was checked.
"""

from __future__ import annotations

import pytest

from memstore.engine.command import LOCAL, Row
from memstore.engine.session import Session
from tests.commands.samples import SETTING
from tests.commands.test_command_table import ROWS, SAMPLE
from tests.replication.test_shard import Node

NAMING = sorted(
    name
    for name, row in ROWS.items()
    if SAMPLE.get(name) and not row.flags & LOCAL and (row.first or row.find_keys is not None)
)


def words(line: str) -> list[bytes]:
    return [b"" if word == "''" else word.encode() for word in line.split()]


def prepared(lines: tuple[str, ...]) -> tuple[Node, Session]:
    node = Node(enable_debug_command="yes")
    session = node.session()
    for line in (*SETTING, *lines):
        node.run(session, [words(line)])
    node.commit()
    return node, session


@pytest.mark.parametrize("name", NAMING)
@pytest.mark.parametrize("change", ["DEL", "SET"])
def test_a_reply_waits_for_every_key_the_command_names(name: str, change: str) -> None:
    asked = 0
    for sample in SAMPLE[name]:
        argv = words(sample[-1])
        row = prepared(())[0].engine.find(argv)
        assert isinstance(row, Row)
        for key in dict.fromkeys(row.keys(argv)):
            node, reader = prepared(sample[:-1])
            writer = node.session(db=reader.db)
            sent = node.run(
                writer, [[b"DEL", key] if change == "DEL" else [b"SET", key, b"uncommitted"]]
            )
            if sent:
                continue  # there was nothing to delete
            asked += 1
            assert node.run(reader, [argv]) == b"", (sample, key)
            assert node.commit().get(reader.id), (sample, key)
    assert asked or change == "DEL"
