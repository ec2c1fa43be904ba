"""DEBUG: what test suites need. Off by default, as in Redis 7.0 (``enable-debug-command``).

Decides: what each subcommand answers. `engine.access` decides who may call them.
Must not know: how the loop is blocked; a request to the node does that.
"""

from __future__ import annotations

from typing import Final

from memstore.commands.help import help_reply
from memstore.engine import reply
from memstore.engine.access import DEBUG_REFUSED, may_debug
from memstore.engine.command import (
    ADMIN,
    EVERYWHERE,
    LOADING,
    LOCAL,
    NOSCRIPT,
    READONLY,
    STALE,
    command,
)
from memstore.engine.context import Context
from memstore.engine.digest import digest, value_digest
from memstore.engine.requests import Sleep
from memstore.engine.settings import SettingError, parse_memory
from memstore.engine.values.double import parse_double
from memstore.engine.values.value_types import typed

_FLAGS: Final = ADMIN | NOSCRIPT | LOADING | STALE
_TYPES: Final = "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false"
_TOO_LARGE_TO_PACK: Final = (1 << 32) - (1 << 20)  # bytes
_LONGEST_SLEEP_S: Final = 3600.0


def check_allowed(ctx: Context) -> None:
    if not may_debug(ctx.engine.settings, ctx.session):
        raise reply.CommandError(DEBUG_REFUSED)


@command(
    b"DEBUG|SLEEP",
    arity=3,
    flags=_FLAGS | LOCAL,
    group="server",
    summary="Hold this node up for seconds",
)
def debug_sleep(ctx: Context, argv: list[bytes]) -> bytes:
    check_allowed(ctx)
    seconds = parse_double(argv[2])
    if seconds is not None and seconds > 0:
        ctx.engine.requests.append(Sleep(int(min(seconds, _LONGEST_SLEEP_S) * 1_000_000)))
    return reply.OK


@command(
    b"DEBUG|SET-ACTIVE-EXPIRE",
    arity=3,
    flags=_FLAGS | LOCAL,
    group="server",
    summary="Whether expired keys are looked for in the background",
)
def debug_set_active_expire(ctx: Context, argv: list[bytes]) -> bytes:
    check_allowed(ctx)
    ctx.engine.active_expire = argv[2] == b"1"
    return reply.OK


@command(
    b"DEBUG|DIGEST",
    arity=2,
    flags=_FLAGS | READONLY | EVERYWHERE,
    group="server",
    summary="A digest of all data",
    complexity="O(N), N keys",
)
def debug_digest(ctx: Context, argv: list[bytes]) -> bytes:
    check_allowed(ctx)
    return reply.simple(digest(ctx.keyspace).hex().encode())


@command(
    b"DEBUG|DIGEST-VALUE",
    arity=-2,
    flags=_FLAGS | READONLY,
    keys=(2, -1, 1),
    group="server",
    summary="Digests of values",
    complexity="O(N), N keys",
)
def debug_digest_value(ctx: Context, argv: list[bytes]) -> bytes:
    check_allowed(ctx)
    digests = []
    for key in argv[2:]:
        value = ctx.lookup(key)
        digests.append(
            "0" * 40 if value is None else value_digest(value, ctx.database.expire_at(key)).hex()
        )
    return reply.array([reply.simple(text.encode()) for text in digests])


@command(
    b"DEBUG|OBJECT",
    arity=3,
    flags=_FLAGS | READONLY,
    keys=(2, 2, 1),
    group="server",
    summary="How a value is kept",
)
def debug_object(ctx: Context, argv: list[bytes]) -> bytes:
    check_allowed(ctx)
    value = ctx.lookup(argv[2])
    if value is None:
        raise reply.CommandError(reply.NO_SUCH_KEY)
    it = typed(value)
    # The address is 0: a real address would change from run to run.
    seconds = ctx.wall_ms // 1000 & 0xFFFFFF
    length = len(it.span(0, 0))
    return reply.simple(
        b"Value at:0x0 refcount:1 encoding:%b serializedlength:%d lru:%d lru_seconds_idle:0"
        % (it.encoding(), length, seconds)
    )


@command(
    b"DEBUG|QUICKLIST-PACKED-THRESHOLD",
    arity=3,
    flags=_FLAGS | LOCAL,
    group="server",
    summary="Accepted: lists decide by themselves what they pack",
)
def debug_quicklist_packed_threshold(ctx: Context, argv: list[bytes]) -> bytes:
    check_allowed(ctx)
    try:
        size = parse_memory(reply.text(argv[2]))
    except SettingError:
        size = _TOO_LARGE_TO_PACK + 1
    if size > _TOO_LARGE_TO_PACK:
        raise reply.CommandError(
            "ERR argument must be a memory value bigger than 1 and smaller than 4gb"
        )
    return reply.OK


@command(
    b"DEBUG|ERROR", arity=3, flags=_FLAGS | LOCAL, group="server", summary="Answer with this error"
)
def debug_error(ctx: Context, argv: list[bytes]) -> bytes:
    check_allowed(ctx)
    raise reply.CommandError(reply.text(argv[2]))


@command(
    b"DEBUG|PROTOCOL",
    arity=3,
    flags=_FLAGS | LOCAL,
    group="server",
    summary="Answer with an example of a reply type",
)
def debug_protocol(ctx: Context, argv: list[bytes]) -> bytes:
    check_allowed(ctx)
    name, bulk, integer = argv[2].lower(), reply.bulk, reply.integer
    big = b"1234567999999999999999999999999999999"
    if name == b"attrib":
        tail = bulk(b"Some real reply following the attribute")
        return (
            b"|1\r\n"
            + bulk(b"key-popularity")
            + reply.array([bulk(b"key:123"), integer(90)])
            + tail
            if ctx.resp3
            else tail
        )
    if name == b"push":
        if not ctx.resp3:
            raise reply.CommandError("ERR RESP2 is not supported by this command")
        return (
            b">2\r\n"
            + bulk(b"server-cpu-usage")
            + integer(42)
            + bulk(b"Some real reply following the push reply")
        )
    three = [integer(0), integer(1), integer(2)]
    examples = {
        b"string": bulk(b"Hello World"),
        b"integer": integer(12345),
        b"double": ctx.double(b"3.141"),
        b"bignum": b"(%b\r\n" % big if ctx.resp3 else bulk(big),
        b"null": ctx.nil,
        b"array": reply.array(three),
        b"set": ctx.set(three),
        b"map": ctx.map([part for i in range(3) for part in (integer(i), ctx.boolean(i == 1))]),
        b"verbatim": ctx.verbatim(b"This is a verbatim\nstring"),
        b"true": ctx.boolean(True),
        b"false": ctx.boolean(False),
    }
    answer = examples.get(name)
    if answer is None:
        raise reply.CommandError(
            f"ERR Wrong protocol type name. Please use one of the following: {_TYPES}"
        )
    return answer


@command(
    b"DEBUG|HELP", arity=2, flags=_FLAGS | LOCAL, group="server", summary="Show DEBUG's subcommands"
)
def debug_help(ctx: Context, argv: list[bytes]) -> bytes:
    check_allowed(ctx)
    lines = [
        ("DIGEST", "A digest of all data of this node, the same at nodes that hold the same."),
        ("DIGEST-VALUE <key> [<key> ...]", "Digests of values."),
        ("ERROR <text>", "Answer with this error."),
        ("OBJECT <key>", "How a value is kept."),
        ("PROTOCOL <type>", "Answer with an example of a reply type: " + _TYPES + "."),
        (
            "QUICKLIST-PACKED-THRESHOLD <size>",
            "Accepted and without effect: lists decide by themselves what they pack.",
        ),
        ("SET-ACTIVE-EXPIRE (0|1)", "Whether expired keys are looked for in the background."),
        ("SLEEP <seconds>", "Hold this node up."),
    ]
    return help_reply("DEBUG", lines)
