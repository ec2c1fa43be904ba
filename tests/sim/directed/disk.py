"""Schedules about the content of the disk when the power fails: A5, A6, V2, S1, S4, S7.

Decides: the moments.
Must not know: which mutant each is for.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.sim.directed.stage import NotStaged, Stage, alone, schedule
from tests.sim.disk import Inode, _put
from tests.sim.world import Violation
from txlog.consensus.outputs import Promise
from txlog.server import logs as server_logs
from txlog.server.identity import DataFolder, Identity
from txlog.storage.files import META_NAME
from txlog.storage.meta import SLOT_BYTES, decode_slot


def _big(number: int) -> tuple[str, str, str]:
    return "SET", f"r:{number % 6}", f"{number}." + "x" * 1500


@schedule(max_entry_bytes=2000, message_bytes=1, sync_us=15_000)
def power_lost_between_write_and_sync(stage: Stage) -> None:
    """Two entries are written and not yet synced when all three nodes lose power.
    On each node only the second of the two survives.
    """
    stage.teach_slow_disks()
    found = []

    def second_survives(inode: Inode) -> None:
        for offset, data in inode.pending:
            found.append(len(data))
            half = len(data) // 2
            _put(inode.durable, offset + half, data[half:])

    for log in stage.cluster.logs:
        # what happens to survive on this machine
        log.disk._keep_some = second_survives  # type: ignore[method-assign]
        # write and sync of the first, write of the others, their sync
        log.disk.crash_in, log.disk.crash_in_segment = 4, True
    stage.pipeline("a", _big(0), _big(1), _big(2))
    stage.until(
        lambda: all(log.host in stage.network.gone for log in stage.cluster.logs),
        "all have lost power",
    )
    if not all(size > 3000 for size in found):
        raise NotStaged(f"two entries in one write: {found}")
    stage.until(lambda: all(stage.acceptor(az) is not None for az in "abc"), "all are back")


@schedule(max_entry_bytes=2000, segment_bytes=32 * 1024)
def power_lost_behind_a_new_segment(stage: Stage) -> None:
    """One batch fills a segment and begins the next; two nodes acknowledge it and lose power at
    once.
    The third node lacks the batch.
    """
    logs, engines = stage.logs, stage.engines
    base = stage.last("a")
    stage.nothing_survives(logs["a"], logs["b"])
    stage.told(stage.pipeline("a", *map(_big, range(13))))
    stage.run_for(200)
    stage.cut(engines["a"], logs["c"])
    stage.told(stage.pipeline("a", *map(_big, range(13, 18))))
    stage.expect(
        len(logs["a"].driver.store._segments) == len(logs["b"].driver.store._segments) == 2,
        "the batch rolled",
    )
    stage.expect(base + 18 == stage.last("a"), "each write is an entry")
    stage.power_off(engines["a"], logs["a"], logs["b"])
    stage.run_for(100)
    stage.power_on(logs["a"])
    stage.power_on(logs["b"])


@schedule(max_entry_bytes=2000, segment_bytes=32 * 1024)
def power_lost_inside_a_cut(stage: Stage) -> None:
    """A dead writer's tail over two segments is cut for the next writer's entries.
    The power fails when only the newer segment is removed.
    """
    logs, engines = stage.logs, stage.engines
    stage.told(stage.pipeline("a", *map(_big, range(13))))
    stage.run_for(200)
    stage.cut(engines["a"], logs["a"], logs["b"])
    stage.pipeline("a", *map(_big, range(13, 20)))
    stage.until(
        lambda: (
            len(logs["c"].driver.store._segments) == 2
            and stage.acceptor("c").durable == stage.last("c")
        ),
        "log-c alone holds a tail in two segments",
    )
    stage.power_off(engines["a"])
    stage.isolate(logs["c"])
    stage.elect("b")
    stage.told(stage.ask("b", ("SET", "r:0", "b")))
    disk = logs["c"].disk
    # the removal of the newer segment, then the first write of the cut
    disk.crash_in, disk.crash_in_segment = 2, True
    stage.heal(logs["c"])
    stage.until(lambda: logs["c"].host in stage.network.gone, "the power goes inside the cut")
    stage.until(lambda: stage.acceptor("c") is not None, "log-c is back")


@schedule()
def slot_of_meta_rots(stage: Stage) -> None:
    """A node has promised a second writer, has no entry of it yet, and starts again with a flipped
    bit.
    The bit is in the slot of `meta` that was written last.
    """
    log = stage.logs["c"]
    stage.power_off(stage.engines["a"])
    stage.keep_campaigning("b")
    stage.until(
        lambda: stage.proposer("b") and stage.proposer("b").state == "opening",
        "engine-b is promised",
    )
    stage.cut(stage.engines["b"], log)
    stage.run_for(200)
    stage.expect(
        stage.acceptor("c")._durable_promise.term == 2 and stage.acceptor("c").last[0] == 1,
        "log-c has promised",
    )
    inode = next(inode for path, inode in log.disk._tree.items() if path.name == META_NAME)
    newest = max((0, 1), key=lambda slot: (_counter(bytes(inode.data), slot), slot))
    for copy in (inode.data, inode.durable):
        copy[newest * SLOT_BYTES + 40] ^= 1
    log.rotten = True
    log.kill()
    stage.until(lambda: not log.alive, "log-c is killed")
    stage.until(lambda: stage.acceptor("c") is not None, "log-c is back")


def _counter(data: bytes, slot: int) -> int:
    found = decode_slot(data[slot * SLOT_BYTES : (slot + 1) * SLOT_BYTES])
    return found[0] if found is not None else -1


@schedule()
def sync_fails_and_power_goes(stage: Stage) -> None:
    """A node's sync fails and its disk has nothing of the write; soon its power fails.
    It and another node acknowledged the write, and the third lacks it.
    """
    logs, engines = stage.logs, stage.engines
    stage.cut(engines["a"], logs["c"])
    stage.nothing_survives(logs["a"])
    logs["a"].disk.fail_syncs = 1
    stage.told(stage.ask("a", ("SET", "r:0", "x")))
    stage.power_off(engines["a"], logs["a"])
    stage.isolate(logs["b"])
    stage.run_for(20)
    stage.power_on(logs["a"])
    stage.keep_campaigning("c")
    stage.run_for(3000)
    stage.hold_back("c")


def _torn(inode: Inode) -> None:
    """Of the bytes that no sync covers, the first half of each piece survives."""
    for offset, data in inode.pending:
        _put(inode.durable, offset, data[: len(data) // 2])


@schedule()
def power_lost_inside_one_write_everywhere(stage: Stage) -> None:
    """All three nodes come back with a torn last frame, none of them whole.
    They agree on the content of the log, and the shard serves again.
    """
    base = stage.last("a")
    for log in stage.cluster.logs:
        log.disk._keep_some = _torn  # type: ignore[method-assign]  # what survives here
        log.disk.crash_in, log.disk.crash_in_segment = 2, True  # the write, its sync
    write = stage.ask("a", ("SET", "r:0", "x" * 200))
    stage.until(
        lambda: all(log.host in stage.network.gone for log in stage.cluster.logs),
        "all have lost power",
    )
    stage.until(
        lambda: all(stage.acceptor(az) and stage.acceptor(az).suspicion for az in "abc"),
        "all are suspect",
    )
    stage.let("b")
    stage.run_for(8000)
    stage.expect(stage.leads("b"), "the shard serves again")
    stage.expect(
        all(stage.acceptor(az).counts and stage.last(az) > base for az in "abc"), "all are whole"
    )
    stage.expect(not write.done or write.answer != "OK", "nothing was acknowledged")


@schedule(lease_ms=4000)
def acknowledged_by_one_and_agreed_away(stage: Stage) -> None:
    """A node acknowledges an entry to the writer and loses it; all agree on a log without it.
    The second node's power fails inside its sync, and the third never got the entry. The writer
    lives, and reaches the second node again after the agreement.
    """
    logs, engines = stage.logs, stage.engines

    base = stage.last("a")
    disk = logs["b"].disk
    disk._keep_some = _torn  # type: ignore[method-assign]  # what survives here
    disk.crash_in, disk.crash_in_segment = 2, True  # the write, its sync
    stage.cut(engines["a"], logs["c"])
    stage.ask("a", ("SET", "r:0", "x"))
    stage.until(
        lambda: max(progress.match for progress in stage.proposer("a")._progress) == base + 1,
        "engine-a has heard of log-a that it has the entry",
    )
    stage.until(lambda: logs["b"].host in stage.network.gone, "log-b has lost its power")
    stage.part(engines["a"], logs["a"], logs["b"])
    stage.cut(logs["c"], logs["b"])  # so that log-b is not the first to hear from all nodes
    stage.rot(logs["a"], base + 1)
    logs["a"].kill()
    stage.until(
        lambda: all(stage.acceptor(az) and stage.acceptor(az).suspicion for az in "ab"),
        "both are suspect",
    )
    stage.until(lambda: stage.acceptor("a").counts, "all nodes have agreed")
    stage.expect(
        stage.last("a") == stage.last("b") == stage.last("c") == base, "the entry is on no disk"
    )
    stage.heal(engines["a"], logs["b"])
    stage.run_for(1500)
    stage.power_off(engines["a"], logs["b"])
    stage.elect("c", 20)


@schedule(max_entry_bytes=2000, segment_bytes=32 * 1024, sync_us=15_000)
def disk_full_behind_a_queue(stage: Stage) -> None:
    """A slow disk has blocks for one more segment only, and more entries arrive during one sync.
    They would fill two segments. The node refuses them, and no process ends.
    """
    log = stage.logs["b"]
    stage.teach_slow_disks()
    log.disk.full, log.disk.slow_us = True, 300_000
    stage.told(stage.pipeline("a", *map(_big, range(50))))
    stage.until(lambda: not log.driver.disk_busy(), "its disk has what was taken")
    stage.expect(len(log.driver.store._segments) == 2, "one more segment was begun")
    stage.until(lambda: not stage.acceptor("b").has_room, "the disk is known to be full")
    log.disk.full, log.disk.slow_us = False, 0
    stage.until(lambda: stage.last("b") == stage.last("a"), "it has caught up")


@alone
def wiped_folder() -> None:
    """The folder of a log is emptied while its node is away (real files).
    The node must not come back as a log that never promised.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = DataFolder.open(Path(place) / "data")
        folder.write(Identity("00" * 16, "n1", 1, ["n1=127.0.0.1:1"]))
        try:
            store = server_logs.open_store(folder, "shard-0", 64 * 1024, 0)
            store.write_meta(Promise(7, b"w" * 16, b"r" * 16, 1000), None)
            store.sync()
            store.close()
            _empty(folder.log_folder("shard-0"))
            try:
                store = server_logs.open_store(folder, "shard-0", 64 * 1024, 0)
            except server_logs.StoreRefused:
                return
            promised = store.recovered.promise.term
            store.close()
            raise Violation(f"the node came back with promise {promised}, it had promised 7")
        finally:
            folder.close()


def _empty(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()
