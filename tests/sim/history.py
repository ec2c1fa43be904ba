"""The judge of the clients' answers.

No acknowledged write is lost, no refused write is present, nothing that a client saw goes away, and
all operations have one order.

Decides: whether one order of all operations explains all answers. Each operation has the times at
which it was asked and answered.
Must not know: nodes, the log, whether times are virtual (the simulator's) or real
(`tests.system.soak`).

`tests.system.linearizability` judges registers. Journals are list-append registers: the final value
gives the order of all appends of a key. So the order of transactions over several keys is a graph.
Its edges say: wrote before, read after a write, read before a write, and answered before the other
was asked. The graph must not have a cycle. That is strict serializability, decided exactly.
Reads at `session` level must never go back on their connection. Reads at `eventual` level must be a
state that existed once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

from tests.sim import records as r
from tests.sim.records import OK, REFUSED, STRONG, UNKNOWN, Part, Record
from tests.system import history as system
from tests.system.linearizability import check_register, zones

SEARCH_LIMIT = 40  # the second decider also judges a key with at most this number of operations


def judge(history: list[Record]) -> list[str]:
    if wrong := misplaced(history):
        return wrong
    return [*registers(history), *journals(history), *counters(history), *leased(history)]


def misplaced(history: list[Record]) -> list[str]:
    """Answers that cannot belong to their command: to another one, or in another order."""
    found = []
    for record in history:
        for part in record.parts if record.outcome == OK else ():
            answer = part.answer
            if part.kind == r.INCREASE or part.kind == r.APPEND:
                fits = isinstance(answer, int)
            elif part.kind == r.SET or part.kind == r.LEASED:
                fits = answer == "OK"
            elif part.kind == r.COUNT:
                fits = answer is None or (isinstance(answer, str) and answer.isdigit())
            else:
                fits = part.kind == r.ANY or answer is None or isinstance(answer, str)
            if not fits:
                found.append(
                    f"{part.key}: {part.kind} of client {record.client} at "
                    f"{record.complete / 1e6:.6f} was answered {str(answer)[:40]!r}"
                )
    return found


def parts_of(history: Iterable[Record], *kinds: str) -> Iterator[tuple[Record, Part]]:
    for record in history:
        for part in record.parts:
            if part.kind in kinds:
                yield record, part


# --------------------------------------------------------------------------- registers


def registers(history: list[Record]) -> list[str]:
    keys: dict[str, list[system.Operation]] = {}
    outcomes = {OK: system.OK, UNKNOWN: system.UNKNOWN, REFUSED: system.REFUSED}
    found = []
    written: dict[str, set[str]] = {}
    for _, part in parts_of(history, r.SET):
        written.setdefault(part.key, set()).add(str(part.value))
    for record, part in parts_of(history, r.SET, r.GET):
        if part.kind == r.GET and record.level != STRONG:
            if (
                record.outcome == OK
                and part.answer is not None
                and part.answer not in written.get(part.key, ())
            ):
                found.append(
                    f"{part.key}: a {record.level} read saw {part.answer!r}, which nobody wrote"
                )
            continue
        kind, value = (
            (system.WRITE, part.value) if part.kind == r.SET else (system.READ, part.answer)
        )
        operation = system.Operation(
            record.client,
            kind,
            part.key,
            None if value is None else str(value),
            record.invoke,
            record.complete,
            outcomes[record.outcome],
        )
        keys.setdefault(part.key, []).append(operation)
    for key, operations in sorted(keys.items()):
        verdict = (
            check_register(operations) if len(operations) <= SEARCH_LIMIT else zones(operations)
        )
        if verdict.ok is not True:
            found.append(f"{key}: not linearizable: {verdict.reason}")
    return found


# --------------------------------------------------------------------------- journals


def journals(history: list[Record]) -> list[str]:
    finals: dict[str, str] = {}
    for record, part in parts_of(history, r.READ):
        if record.final and record.outcome == OK:
            finals[part.key] = str(part.answer or "")
    if not finals:
        return ["the journals could not be read at the end"]
    return [
        *_tokens(history, finals),
        *_prefixes(history, finals),
        *_session(history),
        *_order(history, finals),
    ]


def _tokens(history: list[Record], finals: dict[str, str]) -> list[str]:
    """Every acknowledged token is there once, at the place that its reply stated.
    Refused tokens are not there, and nothing else is there.
    """
    found = []
    ends: dict[str, dict[str, int]] = {}
    for key, final in finals.items():
        at, mine = 0, ends.setdefault(key, {})
        for token in final.split(",")[:-1]:
            at += len(token) + 1
            if token in mine:
                found.append(f"{key}: {token[:20]} is there twice")
            mine[token] = at
    known: dict[str, set[str]] = {}
    for record, part in parts_of(history, r.APPEND):
        token = str(part.value).rstrip(",")
        end = ends.get(part.key, {}).get(token)
        known.setdefault(part.key, set()).add(token)
        if record.outcome == OK and end is None:
            found.append(
                f"{part.key}: {token[:20]} was acknowledged by {record.node} at "
                f"{record.complete / 1e6:.6f} and is lost"
            )
        elif record.outcome == OK and end != part.answer:
            found.append(f"{part.key}: {token[:20]} ends at {end}, its reply said {part.answer}")
        elif record.outcome == REFUSED and end is not None:
            found.append(
                f"{part.key}: {token[:20]} was refused ({record.detail[:40]}) and is there"
            )
    for key, tokens in ends.items():
        found += [
            f"{key}: {token[:20]} is there and nobody wrote it"
            for token in tokens
            if token not in known.get(key, ())
        ]
    return found


def _prefixes(history: list[Record], finals: dict[str, str]) -> list[str]:
    """Each read, at each level, gave a state that the journal had."""
    found = []
    for record, part in parts_of(history, r.READ):
        if record.outcome == OK and not finals.get(part.key, "").startswith(str(part.answer or "")):
            found.append(
                f"{part.key}: {record.level} read of client {record.client} at {record.node}, "
                f"{record.complete / 1e6:.6f}, saw what went away"
            )
    return found


def _session(history: list[Record]) -> list[str]:
    found = []
    newest: dict[tuple[int, str], int] = {}
    for record, part in parts_of(history, r.READ):
        if record.level != r.EVENTUAL and record.outcome == OK:
            place, length = (record.connection, part.key), len(str(part.answer or ""))
            if length < newest.get(place, 0):
                found.append(
                    f"{part.key}: connection {record.connection} at {record.node} went back from "
                    f"{newest[place]} to {length}"
                )
            newest[place] = max(newest.get(place, 0), length)
    return found


def _order(history: list[Record], finals: dict[str, str]) -> list[str]:
    nodes = [record for record in history if record.level == STRONG and _counts(record, finals)]
    graph = _Graph()
    index = {id(record): graph.node() for record in nodes}
    for key in finals:
        _key_edges(graph, index, nodes, key, finals[key])
    _time_edges(graph, index, nodes)
    cycle = graph.cycle()
    if not cycle:
        return []
    named = {index[id(record)]: record for record in nodes}
    steps = [
        f"client {named[at].client} at {named[at].invoke / 1e6:.6f} ({named[at].node})"
        for at in cycle
        if at in named
    ]
    return ["no order of the journals' operations explains the answers: " + " < ".join(steps)]


def _counts(record: Record, finals: dict[str, str]) -> bool:
    """Whether the operation happened and involves journals."""
    kinds = [part for part in record.parts if part.kind in (r.APPEND, r.READ)]
    if not kinds or record.outcome == REFUSED:
        return False
    if record.outcome == OK:
        return True
    return any(
        part.kind == r.APPEND and str(part.value) in _pieces(finals.get(part.key, ""))
        for part in kinds
    )


_PIECES: dict[str, frozenset[str]] = {}


def _pieces(final: str) -> frozenset[str]:
    if final not in _PIECES:
        if len(_PIECES) > 16:
            _PIECES.clear()
        _PIECES[final] = frozenset(token + "," for token in final.split(",")[:-1])
    return _PIECES[final]


def _key_edges(
    graph: _Graph, index: dict[int, int], nodes: list[Record], key: str, final: str
) -> None:
    place, at = {}, 0
    for token in final.split(",")[:-1]:
        place[token + ","] = at
        at += len(token) + 1
    writers: dict[int, int] = {}  # start of the token -> node
    ends: dict[int, int] = {}
    # (length read, node): the length before the reader's own appends
    reads: list[tuple[int, int]] = []
    for record in nodes:
        own = 0
        for part in record.parts:
            if part.key != key:
                continue
            if part.kind == r.APPEND and part.value in place:
                start = place[part.value]
                writers[start] = ends[start + len(part.value)] = index[id(record)]
                own += len(part.value)
            elif part.kind == r.READ and record.outcome == OK:
                reads.append((len(str(part.answer or "")) - own, index[id(record)]))
    for (_, before), (_, after) in pairwise(sorted(writers.items())):
        graph.edge(before, after)
    for length, reader in reads:
        if length in ends:
            graph.edge(ends[length], reader)
        if length in writers:
            graph.edge(reader, writers[length])


def _time_edges(graph: _Graph, index: dict[int, int], nodes: list[Record]) -> None:
    """Edges for "answered before asked". A line of moments keeps their number small."""
    times = sorted({record.complete for record in nodes if record.outcome == OK})
    moments = {time: graph.node() for time in times}
    for earlier, later in pairwise(times):
        graph.edge(moments[earlier], moments[later])
    for record in nodes:
        if record.outcome == OK:
            graph.edge(index[id(record)], moments[record.complete])
    at = 0
    for record in sorted(nodes, key=lambda one: one.invoke):
        while at < len(times) and times[at] < record.invoke:
            at += 1
        if at:
            graph.edge(moments[times[at - 1]], index[id(record)])


class _Graph:
    def __init__(self) -> None:
        self._after: list[list[int]] = []

    def node(self) -> int:
        self._after.append([])
        return len(self._after) - 1

    def edge(self, before: int, after: int) -> None:
        if before != after:
            self._after[before].append(after)

    def cycle(self) -> list[int]:
        """The nodes of one cycle, or an empty list."""
        state = bytearray(len(self._after))  # 0 new, 1 on the path, 2 done
        for root in range(len(self._after)):
            if state[root]:
                continue
            path, stack = [root], [iter(self._after[root])]
            state[root] = 1
            while stack:
                following = next(stack[-1], None)
                if following is None:
                    state[path.pop()] = 2
                    stack.pop()
                elif state[following] == 1:
                    return path[path.index(following) :]
                elif state[following] == 0:
                    state[following] = 1
                    path.append(following)
                    stack.append(iter(self._after[following]))
        return []


# --------------------------------------------------------------------------- counters


def counters(history: list[Record]) -> list[str]:
    """Each increase is one step: its answer is its place, so the order is known."""
    found = []
    keys: dict[str, list[tuple[Record, Part]]] = {}
    for record, part in parts_of(history, r.INCREASE, r.COUNT):
        keys.setdefault(part.key, []).append((record, part))
    for key, uses in sorted(keys.items()):
        places = [
            int(str(part.answer))
            for record, part in uses
            if part.kind == r.INCREASE and record.outcome == OK
        ]
        if len(set(places)) != len(places):
            found.append(f"{key}: two increases were given the same answer")
        unknown = sum(
            part.kind == r.INCREASE and record.outcome == UNKNOWN for record, part in uses
        )
        last = [
            int(str(part.answer or 0))
            for record, part in uses
            if part.kind == r.COUNT and record.final and record.outcome == OK
        ]
        if last and not len(places) <= last[-1] <= len(places) + unknown:
            found.append(
                f"{key}: {len(places)} increases were acknowledged, {unknown} are unknown, and it "
                f"ends at {last[-1]}"
            )
        found += _counter_order(key, uses)
    return found


def _counter_order(key: str, uses: list[tuple[Record, Part]]) -> list[str]:
    """An answer given before another operation was asked is not greater (a read).
    For an increase it is smaller by at least one.
    """
    answered = sorted(
        (record.complete, int(str(part.answer or 0)))
        for record, part in uses
        if record.outcome == OK and (record.level == STRONG or part.kind == r.INCREASE)
    )
    asked = sorted(
        (record.invoke, int(str(part.answer or 0)) - (part.kind == r.INCREASE))
        for record, part in uses
        if record.outcome == OK and record.level == STRONG
    )
    newest, at = 0, 0
    for invoke, seen in asked:
        while at < len(answered) and answered[at][0] < invoke:
            newest = max(newest, answered[at][1])
            at += 1
        if seen < newest:
            return [
                f"{key}: {newest} had been answered before {invoke / 1e6:.6f}, and then {seen} "
                "was seen"
            ]
    return []


# --------------------------------------------------------------------------- expiry


def leased(history: list[Record]) -> list[str]:
    """A value that was gone or replaced does not come back.
    No read gives a value that was refused or never written.
    """
    found = []
    writes: dict[tuple[str, str], Record] = {}
    for record, part in parts_of(history, r.LEASED):
        writes[part.key, str(part.value)] = record
    looks: dict[str, list[tuple[int, int, str | None]]] = {}
    for record, part in parts_of(history, r.LOOK):
        if record.outcome != OK:
            continue
        seen = None if part.answer is None else str(part.answer)
        if seen is not None and (
            (part.key, seen) not in writes or writes[part.key, seen].outcome == REFUSED
        ):
            found.append(f"{part.key}: {seen} was seen and never written")
        if record.level == STRONG:
            looks.setdefault(part.key, []).append((record.invoke, record.complete, seen))
    for key, seen_at in sorted(looks.items()):
        seen_at.sort()
        found += _come_back(key, seen_at, writes)
    return found


def _come_back(
    key: str, looks: list[tuple[int, int, str | None]], writes: dict[tuple[str, str], Record]
) -> list[str]:
    """A value must not be seen again after a read gave another value, or nothing, in its place.
    That read came after the answer to the value's write and before this read was asked.
    """
    for number, (invoke, _, value) in enumerate(looks):
        write = writes.get((key, value)) if value is not None else None
        if write is None or write.outcome != OK:
            continue
        for asked, answered, other in looks[:number]:
            if other == value or answered >= invoke or asked <= write.complete:
                continue
            newer = writes.get((key, other)) if other is not None else None
            if other is None or (newer is not None and newer.invoke > write.complete):
                return [
                    f"{key}: {value} was seen at {invoke / 1e6:.6f}, after {other!r} had been "
                    "seen in its place"
                ]
    return []
