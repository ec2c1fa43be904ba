"""Golden scripts: a few commands, then what the machines said, word for word.

A script is blocks of ``commands``, a line ``----``, the expected output and an empty line. Time
stands still except for ``tick``; messages wait until ``deliver``. `MEMSTORE_REWRITE=1 pytest
tests/txlog/scripts` writes down what happens now: commit only what you understand.

    campaign W            W asks to become the writer, from what it has applied
    lead W                the same, won, and not told
    append W TEXT...      in one turn
    handover W TO         release W TO, stop W, abort W, restart-writer W: what the names say
    deliver [NAMES]       messages move (only between these) until nothing moves; every node syncs
                          whenever it has something to sync
    deliver-nosync NAMES  the same without syncs; sync NODE
    drop [NAMES]          messages that wait (between these) are lost
    cut NODE / join NODE  the node is unreachable, or reachable again, also for the writers
    tick MS               time passes, timers fire
    crash NODE [KEEP]     of its unsynced writes the first KEEP survive (0); restart NODE
    rot NODE POSITION [header]   the frame no longer checks (its header still does)
    promise-one W NODE    W, which reaches no other node, gets the promise of NODE for the next term
    full NODE / room NODE the node's disk is full, or has room again
    nodes / writers       who holds what
"""

from __future__ import annotations

from pathlib import Path
from random import Random

from tests.txlog.consensus.cluster import LogNode, new_writer
from txlog import messages as m
from txlog.consensus.limits import Limits
from txlog.consensus.outputs import (
    CampaignOver,
    Committed,
    Fenced,
    LeaseUntil,
    Opened,
    ProposerOutput,
    Reopened,
    Send,
    Trace,
)
from txlog.consensus.proposer import Proposer
from txlog.entry import (
    DATA,
    GENESIS_CHAIN,
    HANDOVER,
    KIND_NAMES,
    LEADERSHIP,
    NO_ENTRY,
    Entry,
    decode_entry,
)

LEASE_MS = 160  # a window is 170 ms
START_US = 1_000_000
NAMES = ("n1", "n2", "n3")


class Scripted:
    """A writer and what its engine node would keep."""

    def __init__(self, name: str, life: int, limits: Limits) -> None:
        self.name, self.life = name, life
        self.machine: Proposer = new_writer(f"{name}{life}", 3, Random(f"{name}{life}"), limits)
        self.log: list[Entry] = []
        self.appended: dict[int, Entry] = {}


class Script:
    def __init__(self) -> None:
        self.now = START_US
        self.lines: list[str] = []
        self.net: list[tuple[str, str, m.Message]] = []
        self.cut: set[str] = set()
        self.limits = Limits()
        self.nodes = {name: LogNode(name, list(NAMES), Random(name), self.post) for name in NAMES}
        for node in self.nodes.values():
            node.start(self.now)
        self.writers: dict[str, Scripted] = {}
        self.said_traces = dict.fromkeys(NAMES, 0)

    def post(self, source: str, target: str, message: m.Message) -> None:
        self.net.append((source, target, message))

    def writer(self, name: str) -> Scripted:
        if name not in self.writers:
            self.writers[name] = writer = Scripted(name, 1, self.limits)
            self.connect(writer)
        return self.writers[name]

    def connect(self, writer: Scripted) -> None:
        for index, node in enumerate(NAMES):
            if self.nodes[node].up and node not in self.cut:
                writer.machine.on_connected(index, self.now)

    # ------------------------------------------------------------------ commands

    def run(self, line: str) -> None:
        word, *args = line.split()
        getattr(self, "do_" + word.replace("-", "_"))(*args)
        for name in self.writers:
            self.drain(name)
        self.say_traces()

    def do_campaign(self, name: str) -> None:
        writer = self.writer(name)
        last = writer.log[-1] if writer.log else None
        writer.machine.start_campaign(
            last.id if last else NO_ENTRY,
            last.chain if last else GENESIS_CHAIN,
            LEASE_MS,
            name.encode(),
            1,
            self.now,
        )

    def do_keep(self, size: str) -> None:
        self.limits = Limits(keep_bytes=int(size))

    def do_lead(self, name: str) -> None:
        """Campaign and win, without the words."""
        said = len(self.lines)
        self.do_campaign(name)
        self.drain(name)
        self.move((), True)
        self.do_tick("2")
        self.move((), True)
        del self.lines[said:]
        assert self.writers[name].machine.state == "open", f"{name} is not the writer"

    def do_append(self, name: str, *texts: str) -> None:
        for text in texts:
            self.add(name, DATA, text)

    def add(self, name: str, kind: int, text: str) -> None:
        writer = self.writer(name)
        entry = writer.machine.append(kind, text.encode(), 1, False, self.now)
        writer.appended[entry.position] = entry

    def do_handover(self, name: str, to: str) -> None:
        self.add(name, HANDOVER, to)

    def do_release(self, name: str, to: str) -> None:
        self.writer(name).machine.release(self.writer(to).machine.incarnation, self.now)

    def do_stop(self, name: str) -> None:
        self.writer(name).machine.stop()

    def do_abort(self, name: str) -> None:
        self.writer(name).machine.abort_handover()

    def do_restart_writer(self, name: str) -> None:
        old = self.writers[name]
        self.net = [item for item in self.net if name not in item[:2]]
        self.writers[name] = fresh = Scripted(name, old.life + 1, self.limits)
        fresh.log = [entry for entry in old.log if entry.position <= old.machine.committed]
        self.connect(fresh)

    def do_deliver(self, *names: str) -> None:
        self.move(names, True)

    def do_deliver_nosync(self, *names: str) -> None:
        self.move(names, False)

    def move(self, names: tuple[str, ...], sync: bool) -> None:
        for _ in range(200):
            waiting, self.net = self.net, []
            moved = False
            for source, target, message in waiting:
                if (
                    source in self.cut
                    or target in self.cut
                    or (target in self.nodes and not self.nodes[target].up)
                ):
                    continue
                if names and not (source in names and target in names):
                    self.net.append((source, target, message))
                    continue
                moved = True
                self.lines.append(f"{source} -> {target} {self.tell(message)}")
                if target in self.nodes:
                    self.nodes[target].deliver(source, message, self.now)
                else:
                    self.writers[target].machine.on_message(NAMES.index(source), message, self.now)
                self.say_traces()
            for name, node in self.nodes.items():
                if sync and node.up and node.dirty and (not names or name in names):
                    node.sync(self.now)
                    moved = True
            for name in self.writers:
                self.drain(name)
            self.say_traces()
            if not moved:
                return
        raise AssertionError("the machines never come to rest")

    def do_promise_one(self, name: str, node: str) -> None:
        """A candidate that reaches one node only gets its promise and fails."""
        term = self.nodes[node].acceptor.promise.term + 1
        self.nodes[node].deliver(
            name, m.Seal(term, name.encode(), b"stray", (term, 0), LEASE_MS, False), self.now
        )
        self.nodes[node].sync(self.now)
        self.net = [item for item in self.net if item[1] != name]

    def do_sync(self, name: str) -> None:
        self.nodes[name].sync(self.now)

    def do_drop(self, *names: str) -> None:
        self.net = [
            item for item in self.net if names and not (item[0] in names and item[1] in names)
        ]

    def do_cut(self, name: str) -> None:
        self.cut.add(name)
        self.net = [item for item in self.net if name not in item[:2]]
        for writer in self.writers.values():
            writer.machine.on_disconnected(NAMES.index(name), self.now)

    def do_join(self, name: str) -> None:
        self.cut.discard(name)
        for writer in self.writers.values():
            writer.machine.on_connected(NAMES.index(name), self.now)

    def do_tick(self, ms: str) -> None:
        end = self.now + int(ms) * 1000
        while True:
            due = [
                time
                for time in [w.machine.deadline() for w in self.writers.values()]
                + [n.acceptor.deadline() for n in self.nodes.values() if n.up]
                if time
            ]
            self.now = min([end] + [max(time, self.now) for time in due])
            for name, writer in self.writers.items():
                if 0 < writer.machine.deadline() <= self.now:
                    writer.machine.on_deadline(self.now)
                    self.drain(name)
            for node in self.nodes.values():
                if node.up:
                    node.tick(self.now)
            if self.now >= end:
                return

    def do_crash(self, name: str, keep: str = "0") -> None:
        self.nodes[name].crash(int(keep))
        for writer in self.writers.values():
            writer.machine.on_disconnected(NAMES.index(name), self.now)

    def do_restart(self, name: str) -> None:
        self.said_traces[name] = len(self.nodes[name].traces)
        self.nodes[name].start(self.now)
        for writer in self.writers.values():
            writer.machine.on_connected(NAMES.index(name), self.now)

    def do_rot(self, name: str, position: str, header: str = "") -> None:
        self.nodes[name].disk.rot(int(position), header == "header")

    def do_full(self, name: str) -> None:
        self.nodes[name].acceptor.on_room(False)

    def do_room(self, name: str) -> None:
        self.nodes[name].acceptor.on_room(True)

    def do_nodes(self) -> None:
        for name, node in self.nodes.items():
            if not node.up:
                self.lines.append(f"{name} down")
                continue
            a = node.acceptor
            log = " ".join(
                self.tell_entry(f.entry) if isinstance(f.entry, Entry) else "??"
                for f in node.disk.now.frames
            )
            extra = "".join(
                f" {word}"
                for word, on in (
                    ("suspect", a.suspicion is not None),
                    ("broken", a.broken),
                    ("full", not a.has_room),
                )
                if on
            )
            held = f" window {a.window_left_ms(self.now)}ms" if a.window_left_ms(self.now) else ""
            self.lines.append(
                f"{name} promised {a.promise.term} last {a.last[1]}@{a.last[0]} durable "
                f"{a.durable} committed {a.committed}{held}{extra}: {log}"
            )

    def do_writers(self) -> None:
        for name, writer in sorted(self.writers.items()):
            w = writer.machine
            left = max(0, w.lease_until_us - self.now) // 1000
            self.lines.append(
                f"{name} {w.state} term {w.term} last {w.last[1]}@{w.last[0]} committed "
                f"{w.committed} lease {left}ms"
            )

    # ------------------------------------------------------------------ telling

    def drain(self, name: str) -> None:
        writer = self.writers[name]
        for output in writer.machine.take_outputs():
            if isinstance(output, Send):
                self.net.append((name, NAMES[output.to], output.message))
                continue
            text = self.tell_output(output)
            if text:
                self.lines.append(f"{name}: {text}")
            if isinstance(output, Opened):
                writer.log += output.prefix
            elif isinstance(output, Committed):
                while len(writer.log) < output.position:
                    writer.log.append(writer.appended.pop(len(writer.log) + 1))
            elif isinstance(output, Reopened):
                self.add(name, LEADERSHIP, name)
                self.drain(name)

    def tell_output(self, output: ProposerOutput) -> str:
        if isinstance(output, Opened):
            return f"OPENED term {output.term}: {' '.join(map(self.tell_entry, output.prefix))}"
        if isinstance(output, Committed):
            return f"committed {output.position}"
        if isinstance(output, LeaseUntil):
            return f"lease {max(0, output.us - self.now) // 1000}ms" if output.us else "lease over"
        if isinstance(output, CampaignOver):
            return f"campaign over{' (held)' if output.held else ''}: {output.reason}"
        if isinstance(output, Fenced):
            return f"FENCED: {output.reason}"
        if isinstance(output, Reopened):
            return f"REOPENED term {output.term}"
        return output.text if isinstance(output, Trace) else ""

    def say_traces(self) -> None:
        for name, node in self.nodes.items():
            for text in node.traces[self.said_traces[name] :]:
                self.lines.append(f"{name}: {text}")
            self.said_traces[name] = len(node.traces)

    @staticmethod
    def tell_entry(entry: Entry) -> str:
        text = (
            entry.payload.decode()
            if entry.kind == DATA
            else KIND_NAMES[entry.kind][:4] + "(" + entry.payload.decode() + ")"
        )
        return f"{entry.position}@{entry.term}:{text}"

    def tell(self, message: m.Message) -> str:
        name = type(message).__name__
        if isinstance(message, m.Append):
            entries = " ".join(self.tell_entry(decode_entry(data)) for data in message.entries)
            heal = f" heal {message.repair_upto}" if message.repair_epoch else ""
            return (
                f"Append t{message.term} after {message.previous[1]}@{message.previous[0]} "
                f"[{entries}] committed {message.committed}{heal}"
            )
        if isinstance(message, m.Seal):
            return (
                f"{'Probe' if message.probe else 'Seal'} t{message.term} expected "
                f"{message.expected[1]}@{message.expected[0]}"
            )
        if isinstance(message, m.Promised):
            return (
                f"{'WouldPromise' if message.probe else 'Promised'} t{message.term} last "
                f"{message.last[1]}@{message.last[0]} committed {message.committed}"
            )
        if isinstance(message, m.Fetch):
            fence = f" fence {message.fence}" if message.fence else ""
            return (
                f"Fetch from {message.start}{' uncommitted' if message.uncommitted else ''}{fence}"
            )
        if isinstance(message, m.Fetched):
            suspect = " suspect" if message.suspect else ""
            last = f"{message.last[1]}@{message.last[0]}"
            return (
                f"Fetched {len(message.entries)} from {message.start} promised "
                f"{message.promised} last {last} committed {message.committed}{suspect}"
            )
        fields = {
            m.Refused: "promised", m.LeaseHeld: "left_ms", m.Behind: "last", m.Appended: "position",
            m.MissingEntries: "last", m.Conflict: "back_to", m.Suspected: "position",
            m.Unavailable: "reason", m.CatchUp: "committed",
        }  # fmt: skip
        field = fields.get(type(message))
        term = getattr(message, "term", 0)
        return f"{name} t{term}" + (f" {field} {getattr(message, field)}" if field else "")


def run_script(path: Path) -> tuple[str, str]:
    """(the script as it is, the script as it would be written now)"""
    text = path.read_text()
    script = Script()
    written: list[str] = []
    for block in text.strip("\n").split("\n\n"):
        commands = block.split("\n----")[0].splitlines()
        script.lines = []
        for line in commands:
            if line and not line.startswith("#"):
                script.run(line)
        has_commands = any(line and not line.startswith("#") for line in commands)
        written.append("\n".join(commands + (["----", *script.lines] if has_commands else [])))
    return text, "\n\n".join(written) + "\n"
