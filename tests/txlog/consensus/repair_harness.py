"""Log nodes with damage, for several test files."""

from __future__ import annotations

from collections.abc import Callable

from tests.txlog.consensus.harness import Bench, append, log_of
from txlog.entry import NO_ENTRY, Entry, EntryId
from txlog.messages import (
    Fetch,
    Fetched,
)


def surveyed(bench: Bench) -> Fetch:
    """The newest question to the other nodes."""
    return [message for _, message in bench.said if isinstance(message, Fetch)][-1]


def answer(
    fetch: Fetch,
    log: list[Entry],
    last: EntryId | None = None,
    committed: int = 0,
    suspect: bool = False,
    proven: int = 0,
) -> Fetched:
    entries = (
        [entry.encoded for entry in log if entry.position >= fetch.start] if fetch.max_bytes else []
    )
    top = last or (log[-1].id if log else NO_ENTRY)
    return Fetched(
        fetch.token,
        fetch.start,
        max(1, fetch.fence),
        top,
        committed,
        NO_ENTRY,
        suspect,
        entries,
        proven,
    )


def tell(bench: Bench, node: str, fetched: Fetched) -> None:
    bench.said.clear()
    bench.node.deliver(node, fetched, bench.now)
    if bench.node.dirty:
        bench.node.sync(bench.now)


def converse(
    bench: Bench,
    says: Callable[[str, Fetch], Fetched | None],
    takes_us: Callable[[str], int],
    until: Callable[[], bool],
) -> None:
    """Answer the node's questions for at most ten minutes; its deadlines pass.
    Each answer comes after the delay, one question per node at a time, the newest (`PeerLinks`).
    """
    under_way: dict[str, tuple[int, Fetched]] = {}
    waiting: dict[str, Fetch] = {}
    end = bench.now + 600_000_000
    while not until() and bench.now < end:
        waiting |= {node: message for node, message in bench.said if isinstance(message, Fetch)}
        bench.said.clear()
        for node in sorted(waiting.keys() - under_way.keys()):
            if (fetched := says(node, waiting.pop(node))) is not None:
                under_way[node] = bench.now + takes_us(node), fetched
        deadline = bench.machine.deadline() or end
        node = min(under_way, key=lambda node: under_way[node][0], default="")
        if node and under_way[node][0] <= deadline:
            bench.now, fetched = under_way.pop(node)
            tell(bench, node, fetched)
        else:
            bench.now = deadline
            bench.node.tick(bench.now)
            if bench.node.dirty:
                bench.node.sync(bench.now)


def agree(bench: Bench, **says: Callable[[Fetch], Fetched]) -> None:
    """S4: every node answers, again and again, until it has answered after the fence."""
    fence = 0
    for _ in range(10):
        fetch = surveyed(bench)
        fence = fetch.fence
        for node, of in says.items():
            tell(bench, node, of(fetch))
        if fence:
            return
        if not any(isinstance(message, Fetch) for _, message in bench.said):
            bench.now += 500_000
            bench.node.tick(bench.now)
    raise AssertionError("no fence was raised")


def damaged(
    log: list[Entry],
    *positions: int,
    committed: int = 0,
    header: bool = False,
    peers: int = 2,
    ack: int = 0,
) -> Bench:
    """A node that held ``log`` and found these positions bad at start.
    ``ack``: the log up to this position was synced before the rest was written.
    """
    bench = Bench(peers)
    term = log[-1].term
    if ack:
        bench.ask(append(term, log, upto=ack))
    bench.ask(append(term, log, ack + 1, upto=len(log) - 1, committed=committed))
    bench.ask(append(term, log, len(log), committed=committed))
    for position in positions:
        bench.node.disk.rot(position, header)
    bench.restart()
    return bench


LOG = log_of(1, 1, 1, 1, 1)
STALE = log_of(1, 1, text=b"stale", behind=LOG[:3])


def fenced(bench: Bench) -> Fetch:
    """The question after the fence; the fence rises when a writer has had time to heal."""
    nobody = [answer(surveyed(bench), [], last=(1, 4), suspect=True) for _ in range(2)]
    for again in range(3):
        fetch = surveyed(bench)
        for node, fetched in zip(("n1", "n2"), nobody, strict=True):
            fetched.token = fetch.token
            tell(bench, node, fetched)
        assert bench.machine.suspicion is not None and bench.machine.promise.term == (
            2 if again == 2 else 1
        )
        if again < 2:
            bench.now += 500_000
            bench.node.tick(bench.now)
    return surveyed(bench)


def rotten_while_it_runs(bench: Bench, *positions: int, header: bool = True) -> None:
    """These positions rot and the scrubber finds it (S6)."""
    for position in positions:
        bench.node.disk.rot(position, header)
    bench.said.clear()
    bench.machine.on_damage(bench.node.disk.scan(bench.machine.committed), bench.now)
    bench.node.run(bench.now)
    if bench.node.dirty:
        bench.node.sync(bench.now)


def met(*positions: int, committed: int = 0, peers: int = 2, header: bool = True) -> Bench:
    """A node that took ``LOG`` from its writer, and then finds these positions bad."""
    bench = Bench(peers)
    bench.ask(append(1, LOG, committed=committed))
    rotten_while_it_runs(bench, *positions, header=header)
    return bench
