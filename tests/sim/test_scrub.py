"""The scrubber in a whole cluster on virtual time.
A bit flips under a running log node. The node finds and repairs it while it runs.
"""

from __future__ import annotations

from random import Random

import pytest

from tests.sim.cluster import LogMember
from tests.sim.run import Plan, Run
from txlog.storage.recovery import scan_segment
from txlog.storage.segment import decode_header, segment_seed

SECOND = 1_000_000
SETTINGS = {
    "scrub_bytes_per_s": 4 << 20,
    "cache_bytes": 0,
    "segment_bytes": 32 << 10,
    "broken_clocks": 0,
    "drift_ppm": 0,
    "delay_us": 400,
    "sync_us": 150,
}


def prepared(seed: int) -> tuple[Run, LogMember]:
    """A run without faults except those of the test, and the log node that gets them."""
    run = Run(Plan(seed, kinds=(), settings=SETTINGS))
    member = run.cluster.logs[0]
    member.rotten = True  # the checkers know that it may have to withdraw an acknowledgement
    return run, member


def good_entries(member: LogMember) -> int:
    """The number of good entries on its platter.
    Every segment except the newest must be good to its end.
    """
    count = 0
    for path, inode in sorted(member.disk._tree.items()):
        if path.suffix == ".seg":
            data = bytes(inode.data)
            header = decode_header(data)
            assert header is not None
            scan = scan_segment(
                data, header.first, header.previous_chain, segment_seed(header.log, header.first)
            )
            assert (scan.gaps, scan.repairs, scan.torn) == ([], [], False), path
            count += len(scan.terms)
    return count


@pytest.mark.parametrize("seed", [1, 2])
def test_bits_in_old_segments_are_found_and_repaired_while_the_node_runs(seed: int) -> None:
    run, member = prepared(seed)
    rng = Random(seed)
    flipped: list[str] = []

    def flip() -> None:
        segments = sorted(path for path in member.disk._tree if path.suffix == ".seg")
        inode = member.disk._tree[segments[0]]
        flipped.append(member.disk._flip(segments[0], inode, rng.randrange(8192, 20_000), rng))

    for at in range(20, 44, 4):
        run.world.at(at * SECOND, None, flip)
    result = run.run()
    assert result.problems == []
    assert len(flipped) == 6 and result.counters["scrub found bytes that do not check"] >= 6
    assert result.counters["damage met while reading"] >= 6 and member.lives == 1
    assert good_entries(member) == member.driver._acceptor.last[1]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_damage_above_what_is_known_committed_makes_a_running_node_suspect_and_it_heals(
    seed: int,
) -> None:
    """A node is cut off from the writer and restarted.
    It holds entries and does not know whether they are committed. One of them rots.
    """
    run, member = prepared(seed)
    world, network = run.world, run.network
    reached: list[str] = []

    def cut_off(waited_us: int = 0) -> None:
        primary, driver = run.cluster.primary, member.driver
        assert primary is not None and driver is not None
        acceptor = driver._acceptor
        if acceptor.durable <= acceptor.committed:
            assert waited_us < 20 * SECOND
            world.after(200, None, cut_off, waited_us + 200)
            return
        for engine in run.cluster.engines:
            for pair in ((engine.host, member.host), (member.host, engine.host)):
                network.link(*pair).blocked += 1
        member.kill()
        world.after(3 * SECOND, None, rot)

    def rot() -> None:
        acceptor = member.driver._acceptor
        assert acceptor.last[1] > acceptor.committed and acceptor.suspicion is None
        assert member.disk.flip_bit_at_the_end(Random(seed))
        reached.append("rotten")
        world.after(5 * SECOND, None, heal)

    def heal() -> None:
        acceptor = member.driver._acceptor
        assert acceptor.suspicion is None and not acceptor.tail_damage, (
            "put back by what the others know committed"
        )
        reached.append("whole")
        for engine in run.cluster.engines:
            for pair in ((engine.host, member.host), (member.host, engine.host)):
                network.link(*pair).blocked -= 1
                network.healed(*pair)

    world.at(10 * SECOND, None, cut_off)
    result = run.run()
    assert result.problems == []
    assert reached == ["rotten", "whole"]
    assert (
        result.counters["suspect from position N"] == 1
        and result.counters["no longer suspect"] == 1
    )
    assert member.lives == 2, "the one restart is the test's own"
    assert good_entries(member) == member.driver._acceptor.last[1]
