"""String commands."""

from __future__ import annotations

from memstore.engine import reply
from memstore.engine.command import FAST, FIRST, READONLY, command
from memstore.engine.context import Context


@command(b"GET", arity=2, flags=READONLY | FAST, keys=FIRST, since="1.0.0", group="string", summary="Returns a key's string value")
def get(ctx: Context, argv: list[bytes]) -> bytes:
    value = ctx.lookup_string(argv[1])
    return ctx.nil if value is None else b"$%d\r\n%b\r\n" % (len(value), value)
