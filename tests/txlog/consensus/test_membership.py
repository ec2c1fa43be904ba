"""The writer's machine when the group gets another membership (S8).
It stays the writer, and earlier answers no longer count.
"""

from __future__ import annotations

import pytest

from tests.txlog.consensus.writer_harness import Bench
from txlog.consensus.outputs import Reopened
from txlog.consensus.sender import OPEN
from txlog.entry import LEADERSHIP
from txlog.messages import Append, Appended, Renew, Seal


def test_s8_another_membership_voids_acks_and_the_writer_seals_again() -> None:
    bench = Bench()
    bench.open()
    lease = bench.machine.lease_until_us
    entry = bench.append()
    old = bench.newest(0, Append)
    bench.appended(0)
    bench.now += 10_000
    for node in range(3):
        bench.machine.on_disconnected(node, bench.now)
    bench.machine.on_membership(bench.now)
    bench.take()
    assert bench.machine.state == OPEN and bench.machine.lease_until_us == lease, (
        "it stays the writer, what was granted stays"
    )
    bench.clear()
    for node in range(3):
        bench.machine.on_connected(node, bench.now)
    bench.take()
    assert all(bench.newest(node, Seal).term == 2 for node in range(3)) and not any(
        isinstance(m, Append | Renew) for m in bench.sent[0]
    )
    bench.promise(0, entry.id)
    bench.tell(1, Appended(old.term, old.ballot_id, old.number, entry.position))
    assert bench.machine.committed < entry.position, (
        "one ack of the old membership and one that came late are no majority"
    )
    bench.promise(1, (1, 1))
    assert bench.heard(Reopened)[0].term == 2
    bench.machine.append(LEADERSHIP, b"me", 1, False, bench.now)
    bench.take()
    bench.appended(0)
    assert bench.machine.committed < entry.position, "the ack of the old membership was forgotten"
    bench.appended(1)  # the entry of the old term
    assert bench.machine.committed < entry.position, "W3: not by count"
    bench.appended(1)
    assert bench.machine.committed == entry.position + 1


@pytest.mark.parametrize("stage", ["fetching", "probing", "sealing"])
def test_s8_a_candidate_begins_again(stage: str) -> None:
    bench = Bench()
    bench.campaign()
    for _ in range(3):
        if bench.machine.state == stage:
            break
        for node in (0, 1):
            if bench.machine.state == "fetching":
                bench.fetched(node)
            else:
                bench.promise(node)
    assert bench.machine.state == stage
    if stage == "sealing":
        bench.promise(0)  # one promise under the old membership
    bench.machine.on_membership(bench.now)
    bench.take()
    assert bench.machine.state == "fetching"
    if stage == "sealing":
        bench.promise(1)
        assert bench.machine.state == "fetching", (
            "and one more under the new one: no majority of either"
        )
