"""`python -m tests.node.long_commands` is `memstore` with commands that take long, for tests.
They keep the interpreter's lock in one call.

Decides: how long they take.
Must not know: leases.
"""

from __future__ import annotations

import time

from memstore.cli import main
from memstore.engine import reply
from memstore.engine.command import READONLY, command
from memstore.engine.context import Context

PIECE = bytes(1 << 20)
# the comparison of two of them takes some time
TEXTS = [b"x" * 50_000 + b"a", b"x" * 50_000 + b"b"] * 500


def sort(ms: int) -> None:
    """One call of `sorted` that takes about this time on an idle machine."""
    begun = time.thread_time()
    sorted(TEXTS)
    sorted(TEXTS * max(1, int(ms / 1250 / (time.thread_time() - begun))))


def join(ms: int) -> None:
    """One call of `bytes.join` with enough pieces for this time, as far as memory allows."""
    begun = time.perf_counter()
    b"".join([PIECE] * 32)
    once = time.perf_counter() - begun
    while (left := ms / 1000 - (time.perf_counter() - begun)) > 0:
        b"".join([PIECE] * min(256, max(1, int(32 * left / once))))


def test_sort(ctx: Context, argv: list[bytes]) -> bytes:
    sort(int(argv[1]))
    return reply.OK


def test_join(ctx: Context, argv: list[bytes]) -> bytes:
    join(int(argv[1]))
    return reply.OK


def register() -> None:
    """Add the commands in this process only.
    A test that imports this module does not change its command table.
    """
    for name, handler in ((b"TEST.SORT", test_sort), (b"TEST.JOIN", test_join)):
        command(name, arity=2, flags=READONLY, group="server", summary="Take so many milliseconds")(
            handler
        )


if __name__ == "__main__":
    register()
    main()
