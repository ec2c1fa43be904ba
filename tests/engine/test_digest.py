"""The state's digest: what it depends on and what it does not."""

from __future__ import annotations

from tests.engine.harness import Harness


def of(*lines: str) -> bytes:
    h = Harness()
    h.lines(*lines)
    return h.digest()


def test_the_order_of_writes_does_not_matter() -> None:
    assert of("SET a 1", "SET b 2", "SET b 3") == of("SET b 3", "SET a 1")


def test_nothing_is_zeros() -> None:
    assert of() == of("SET a 1", "DEL a") == bytes(20)


def test_key_value_expiry_and_database_matter() -> None:
    states = [
        of("SET a 1"),
        of("SET a 2"),
        of("SET b 1"),
        of("SET a1 ''"),
        of("SELECT 1", "SET a 1"),
        of("SET a 1 PXAT 1800000000000"),
        of("SET a 1 PXAT 1800000000001"),
        of("SET a 1", "SELECT 1", "SET a 1"),
    ]
    assert len(set(states)) == len(states)
