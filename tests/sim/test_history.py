"""Tests of the history judges on known good and known bad histories.
A judge that finds nothing would prove nothing.
"""

from __future__ import annotations

from tests.sim import records as r
from tests.sim.history import judge
from tests.sim.records import EVENTUAL, OK, REFUSED, SESSION, STRONG, UNKNOWN, Part, Record


def rec(
    parts: list[Part],
    invoke: int,
    complete: int,
    outcome: str = OK,
    level: str = STRONG,
    connection: int = 1,
    final: bool = False,
) -> Record:
    return Record(
        1, 0, parts, invoke, complete, outcome, level=level, connection=connection, final=final
    )


def app(key: str, token: str, answer: int | None = None) -> Part:
    return Part(r.APPEND, key, token, answer)


def test_an_answer_of_another_command_is_found() -> None:
    assert "was answered 'OK'" in found(rec([Part(r.INCREASE, "c", None, "OK")], 0, 1), *last(a=""))


def read(key: str, answer: str) -> Part:
    return Part(r.READ, key, None, answer)


def last(**finals: str) -> list[Record]:
    return [rec([read(key, value)], 1000, 1001, final=True) for key, value in finals.items()]


GOOD = [
    rec([app("a", "1,", 2)], 0, 10),
    rec([app("a", "2,", 4), app("b", "2,", 2), read("a", "1,2,")], 11, 20),
    rec([app("b", "3,")], 12, 30, UNKNOWN),
    rec([app("b", "4,")], 12, 30, UNKNOWN),
    rec([read("a", "1,2,"), read("b", "2,")], 25, 28),
    rec([app("a", "5,")], 40, 41, REFUSED),
    *last(a="1,2,", b="2,3,"),
]


def test_a_good_history_passes() -> None:
    assert judge(GOOD) == []


def found(*records: Record) -> str:
    return "\n".join(judge(list(records)))


def test_a_lost_append_is_found() -> None:
    assert "is lost" in found(rec([app("a", "1,", 2)], 0, 10), *last(a=""))


def test_a_refused_append_that_is_there_is_found() -> None:
    assert "was refused" in found(rec([app("a", "1,")], 0, 10, REFUSED), *last(a="1,"))


def test_an_append_at_another_place_than_its_reply_said_is_found() -> None:
    assert "its reply said 4" in found(rec([app("a", "1,", 4)], 0, 10), *last(a="1,"))


def test_a_token_that_is_there_twice_is_found() -> None:
    assert "twice" in found(rec([app("a", "1,")], 0, 10, UNKNOWN), *last(a="1,1,"))


def test_a_token_from_nowhere_is_found() -> None:
    assert "nobody wrote it" in found(*last(a="1,"))


def test_a_value_seen_and_taken_back_is_found() -> None:
    assert "what went away" in found(
        rec([app("a", "1,")], 0, 10, UNKNOWN),
        rec([read("a", "1,")], 2, 4, level=EVENTUAL),
        *last(a=""),
    )


def test_a_stale_strong_read_is_found() -> None:
    assert "no order" in found(
        rec([app("a", "1,", 2)], 0, 10), rec([read("a", "")], 11, 12), *last(a="1,")
    )


def test_the_same_read_is_fine_for_one_who_asked_for_no_more() -> None:
    assert (
        found(
            rec([app("a", "1,", 2)], 0, 10),
            rec([read("a", "")], 11, 12, level=EVENTUAL),
            *last(a="1,"),
        )
        == ""
    )


def test_a_session_that_goes_back_is_found() -> None:
    history = [
        rec([app("a", "1,", 2)], 0, 10),
        rec([read("a", "1,")], 11, 12, level=SESSION),
        rec([read("a", "")], 13, 14, level=SESSION),
    ]
    assert "went back" in found(*history, *last(a="1,"))


def test_half_a_transaction_seen_is_found() -> None:
    both = rec([app("a", "1,", 2), app("b", "1,", 2)], 0, 10)
    assert "no order" in found(
        both, rec([read("a", "1,"), read("b", "")], 2, 8), *last(a="1,", b="1,")
    )


def test_transactions_in_different_orders_are_found() -> None:
    one, two = (
        rec([app("a", "1,", 2), app("b", "1,", 4)], 0, 10),
        rec([app("a", "2,", 4), app("b", "2,", 2)], 0, 10),
    )
    assert "no order" in found(one, two, *last(a="1,2,", b="2,1,"))


def register(kind: str, value: str | None, invoke: int, complete: int, outcome: str = OK) -> Record:
    return rec(
        [Part(r.SET, "r", value, "OK") if kind == r.SET else Part(r.GET, "r", None, value)],
        invoke,
        complete,
        outcome,
    )


def test_a_stale_register_is_found() -> None:
    assert "not linearizable" in found(
        register(r.SET, "x", 0, 1),
        register(r.SET, "y", 2, 3),
        register(r.GET, "x", 4, 5),
        *last(a=""),
    )


def test_a_register_written_by_a_refused_command_is_found() -> None:
    assert "not linearizable" in found(
        register(r.SET, "x", 0, 1, REFUSED), register(r.GET, "x", 4, 5), *last(a="")
    )


def counter(kind: str, answer: int, invoke: int, complete: int, final: bool = False) -> Record:
    return rec(
        [Part(kind, "c", None, str(answer) if kind == r.COUNT else answer)],
        invoke,
        complete,
        final=final,
    )


def test_counters() -> None:
    good = [
        counter(r.INCREASE, 1, 0, 5),
        counter(r.INCREASE, 2, 0, 5),
        counter(r.COUNT, 2, 6, 7),
        counter(r.COUNT, 2, 1000, 1001, True),
    ]
    assert found(*good, *last(a="")) == ""
    assert "the same answer" in found(
        counter(r.INCREASE, 1, 0, 5), counter(r.INCREASE, 1, 0, 5), *last(a="")
    )
    assert "it ends at 1" in found(
        counter(r.INCREASE, 1, 0, 5),
        counter(r.INCREASE, 2, 0, 5),
        counter(r.COUNT, 1, 9, 10, True),
        *last(a=""),
    )
    assert "then 1 was seen" in found(*good[:2], counter(r.COUNT, 1, 6, 7), *last(a=""))


def look(value: str | None, invoke: int) -> Record:
    return rec([Part(r.LOOK, "e", None, value)], invoke, invoke + 1)


def test_an_expired_value_that_comes_back_is_found() -> None:
    write = rec([Part(r.LEASED, "e", "x", "OK")], 0, 1)
    assert found(write, look("x", 2), look(None, 5), *last(a="")) == ""
    assert "had been seen in its place" in found(
        write, look("x", 2), look(None, 5), look("x", 8), *last(a="")
    )
    assert "never written" in found(look("y", 2), *last(a=""))
