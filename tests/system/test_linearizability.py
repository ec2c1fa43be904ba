"""The register checker on known good and known bad histories; its two deciders must agree."""

from __future__ import annotations

import random

import pytest

from tests.system.history import OK, READ, REFUSED, UNKNOWN, WRITE, Operation
from tests.system.linearizability import check_history, check_register, search, zones


def op(
    kind: str, value: str | None, invoke: float, complete: float, outcome: str = OK
) -> Operation:
    return Operation(0, kind, "k", value, invoke, complete, outcome)


def w(value: str, invoke: float, complete: float, outcome: str = OK) -> Operation:
    return op(WRITE, value, invoke, complete, outcome)


def r(value: str | None, invoke: float, complete: float, outcome: str = OK) -> Operation:
    return op(READ, value, invoke, complete, outcome)


GOOD = {
    "nothing": [],
    "read of an absent key": [r(None, 0, 1)],
    "one after the other": [w("a", 0, 1), r("a", 2, 3), w("b", 4, 5), r("b", 6, 7)],
    "a read during a write may see either": [
        w("a", 0, 1),
        w("b", 2, 9),
        r("a", 3, 4),
        r("b", 5, 6),
    ],
    "concurrent writes in either order": [w("a", 0, 5), w("b", 0, 5), r("a", 6, 7)],
    "unknown and never seen": [w("a", 0, 1), w("b", 2, 3, UNKNOWN), r("a", 4, 5)],
    "unknown and seen late": [w("a", 0, 1), w("b", 2, 3, UNKNOWN), r("a", 4, 5), r("b", 6, 7)],
    "refused and never seen": [w("a", 0, 1), w("b", 2, 3, REFUSED), r("a", 4, 5)],
    "a refused read says nothing": [w("a", 0, 1), r(None, 2, 3, REFUSED)],
    "a write nobody saw between two others": [
        w("a", 0, 1),
        w("b", 0.5, 6),
        w("c", 2, 3),
        r("c", 4, 5),
    ],
}

BAD = {
    "acknowledged write lost": [w("a", 0, 1), w("b", 2, 3), r("a", 4, 5)],
    "acknowledged first write lost": [w("a", 0, 1), r(None, 2, 3)],
    "value goes back": [w("a", 0, 1), w("b", 2, 9), r("b", 3, 4), r("a", 5, 6)],
    "value from nowhere": [w("a", 0, 1), r("z", 2, 3)],
    "refused value seen": [w("a", 0, 1), w("b", 2, 3, REFUSED), r("b", 4, 5)],
    "read before it was written": [r("a", 0, 1), w("a", 2, 3)],
    "unknown took effect and was taken back": [
        w("a", 0, 1),
        w("b", 2, 3, UNKNOWN),
        r("b", 4, 5),
        r("a", 6, 7),
    ],
    "two readers disagree on the order": [
        w("a", 0, 9),
        w("b", 0, 9),
        r("a", 1, 2),
        r("b", 3, 4),
        r("a", 5, 6),
    ],
    "a write swallowed whole": [
        w("a", 0, 1),
        w("b", 2, 3),
        w("c", 4, 5),
        r("c", 6, 7),
        r("b", 8, 9),
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_good_history_is_accepted(name: str) -> None:
    assert search(GOOD[name]).ok is True
    assert zones(GOOD[name]).ok is True


@pytest.mark.parametrize("name", BAD)
def test_bad_history_is_found(name: str) -> None:
    assert search(BAD[name]).ok is False
    assert zones(BAD[name]).ok is False
    assert check_history(BAD[name])["k"].reason


def simulated(seed: int, clients: int, length: int) -> list[Operation]:
    """The records of clients of a correct register.
    Each operation takes effect at one moment inside its interval.
    """
    rng = random.Random(seed)
    moments: list[tuple[float, int, Operation]] = []
    for client in range(clients):
        now = rng.random()
        for number in range(length):
            took = rng.random() * 3
            outcome = rng.choice([OK] * 8 + [UNKNOWN, REFUSED])
            write = rng.random() < 0.5
            effect = now + rng.random() * took
            if write and outcome == UNKNOWN:
                effect = now + rng.random() * 10
            value = f"{client}:{number}" if write else None
            operation = Operation(
                client, WRITE if write else READ, "k", value, now, now + took, outcome
            )
            moments.append((effect, len(moments), operation))
            now += took + rng.random() * 0.5
    state: str | None = None
    for _, _, operation in sorted(moments, key=lambda m: m[:2]):
        if operation.kind == READ:
            operation.value = state
        elif operation.outcome == OK or (operation.outcome == UNKNOWN and rng.random() < 0.5):
            state = operation.value
    return [operation for _, _, operation in moments]


@pytest.mark.parametrize("seed", range(60))
def test_a_true_register_passes(seed: int) -> None:
    verdict = check_register(simulated(seed, clients=5, length=12))
    assert verdict.ok is True, verdict.reason


def test_the_deciders_agree_on_spoilt_histories() -> None:
    """A changed read is sometimes harmless, often not; both deciders must give the same answer."""
    outcomes = {True: 0, False: 0}
    for seed in range(300):
        operations = simulated(seed, clients=4, length=6)
        rng = random.Random(seed + 10_000)
        reads = [o for o in operations if o.kind == READ and o.outcome == OK]
        values = [o.value for o in operations if o.kind == WRITE and o.outcome != REFUSED]
        if not reads or not values:
            continue
        rng.choice(reads).value = rng.choice(values)
        verdict = search(operations)
        assert verdict.ok is not None
        assert zones(operations).ok == verdict.ok
        outcomes[verdict.ok] += 1
    assert outcomes[True] > 20 and outcomes[False] > 50, outcomes
