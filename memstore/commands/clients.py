"""CLIENT: lists, names, closes and pauses connections, and sets how they are answered.

Decides: how a connection is described and which ones a filter selects.
Must not know: sockets; requests to the node close and pause connections.

A connection in CLIENT LIST has every field that Redis 7.0 shows. A field without a counterpart here
(file descriptor, buffers) is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from memstore.commands.connection import checked_name
from memstore.commands.help import help_reply
from memstore.commands.parse import INT64_MAX
from memstore.engine import reply
from memstore.engine.command import ADMIN, LOADING, LOCAL, NOSCRIPT, STALE, command
from memstore.engine.context import Context
from memstore.engine.effects import encode
from memstore.engine.requests import (
    PAUSE_ALL,
    PAUSE_NONE,
    PAUSE_WRITE,
    CloseSession,
    Pause,
    Unpause,
)
from memstore.engine.session import REPLY_OFF, REPLY_ON, REPLY_SKIP_NEXT, Session
from memstore.engine.values import parse_integer

_OWN: Final = NOSCRIPT | LOADING | STALE | LOCAL
_ADMIN: Final = _OWN | ADMIN
_TYPES: Final = {b"normal", b"master", b"replica", b"slave", b"pubsub"}


def _flags(session: Session) -> str:
    letters = [
        ("O", session.monitor),
        ("x", session.multi is not None),
        ("b", session.is_blocked),
        ("d", session.watch_failed),
        ("c", session.closing),
        ("r", session.readonly),
        ("e", session.no_evict),
    ]
    return "".join(letter for letter, there in letters if there) or "N"


def described(
    session: Session,
    wall_ms: int,
    command_name: bytes,
    query_bytes: int = 0,
    argument_bytes: int = 0,
) -> str:
    """One line of CLIENT LIST, without its end."""
    held = sum(len(item[1]) for item in session.held)
    fields: list[tuple[str, object]] = [
        ("id", session.id),
        ("addr", session.address),
        ("laddr", session.laddr),
        ("fd", 0),
        ("name", reply.text(session.name)),
        ("age", max(0, wall_ms - session.created_ms) // 1000),
        ("idle", max(0, wall_ms - session.last_ms) // 1000),
        ("flags", _flags(session)),
        ("db", session.db),
        ("sub", 0),
        ("psub", 0),
        ("ssub", 0),
        ("multi", len(session.multi) if session.multi is not None else -1),
        ("qbuf", query_bytes),
        ("qbuf-free", 0),
        ("argv-mem", argument_bytes),
        (
            "multi-mem",
            sum(len(arg) for _, argv in session.multi for arg in argv) if session.multi else 0,
        ),
        ("rbs", 0),
        ("rbp", 0),
        ("obl", 0),
        ("oll", len(session.held)),
        ("omem", held),
        ("tot-mem", held + query_bytes + session.__sizeof__()),
        ("events", "r"),
        ("cmd", reply.text(command_name.lower()) or "NULL"),
        ("user", "default"),
        ("redir", -1),
        ("resp", 3 if session.resp3 else 2),
    ]
    if session.lib_name or session.lib_ver:
        fields += [
            ("lib-name", reply.text(session.lib_name)),
            ("lib-ver", reply.text(session.lib_ver)),
        ]
    return " ".join(f"{name}={value}" for name, value in fields)


def _lines(ctx: Context, argv: list[bytes], sessions: list[Session]) -> bytes:
    own, lines = ctx.session, []
    for session in sessions:
        if session is own:
            name = argv[0] + b"|" + argv[1]
            lines.append(
                described(session, ctx.wall_ms, name, len(encode(argv)), sum(map(len, argv)))
            )
        else:
            lines.append(described(session, ctx.wall_ms, session.last_command))
    return ctx.verbatim("".join(line + "\n" for line in lines).encode("utf-8", "surrogateescape"))


def _everyone(ctx: Context) -> list[Session]:
    """Return every connection, oldest first.
    The connection that asks is included even before the node has listed it.
    """
    found = dict(ctx.engine.sessions)
    found[ctx.session.id] = ctx.session
    return [found[id] for id in sorted(found)]


def _of_type(kind: bytes) -> Callable[[Session], bool]:
    """Return a test for a client type. Replicas and primaries are no clients here."""
    wanted = kind.lower()
    if wanted not in _TYPES:
        raise reply.CommandError(f"ERR Unknown client type '{reply.text(kind)}'")
    normal = wanted == b"normal"
    return lambda session: normal


# --------------------------------------------------------------------------- this connection


@command(
    b"CLIENT|ID",
    arity=2,
    flags=_OWN,
    since="5.0.0",
    group="connection",
    summary="The number of this connection",
)
def client_id(ctx: Context, argv: list[bytes]) -> bytes:
    return reply.integer(ctx.session.id)


@command(
    b"CLIENT|INFO",
    arity=2,
    flags=_OWN,
    since="6.2.0",
    group="connection",
    summary="Describe this connection",
)
def client_info(ctx: Context, argv: list[bytes]) -> bytes:
    return _lines(ctx, argv, [ctx.session])


@command(
    b"CLIENT|GETNAME",
    arity=2,
    flags=_OWN,
    since="2.6.9",
    group="connection",
    summary="The name of this connection",
)
def client_getname(ctx: Context, argv: list[bytes]) -> bytes:
    return reply.bulk(ctx.session.name) if ctx.session.name else ctx.nil


@command(
    b"CLIENT|SETNAME",
    arity=3,
    flags=_OWN,
    since="2.6.9",
    group="connection",
    summary="Name this connection",
)
def client_setname(ctx: Context, argv: list[bytes]) -> bytes:
    ctx.session.name = checked_name(argv[2])
    return reply.OK


@command(
    b"CLIENT|SETINFO",
    arity=4,
    flags=_OWN,
    since="7.2.0",
    group="connection",
    summary="Say which client library this is",
)
def client_setinfo(ctx: Context, argv: list[bytes]) -> bytes:
    option = argv[2].lower()
    if option not in (b"lib-name", b"lib-ver"):
        raise reply.CommandError(f"ERR Unrecognized option '{reply.text(argv[2])}'")
    if any(not 0x21 <= byte <= 0x7E for byte in argv[3]):
        raise reply.CommandError(
            f"ERR {reply.text(option)} cannot contain spaces, newlines or special characters."
        )
    if option == b"lib-name":
        ctx.session.lib_name = argv[3]
    else:
        ctx.session.lib_ver = argv[3]
    return reply.OK


@command(
    b"CLIENT|REPLY",
    arity=3,
    flags=_OWN,
    since="3.2.0",
    group="connection",
    summary="Whether this connection is answered",
)
def client_reply(ctx: Context, argv: list[bytes]) -> bytes:
    # OFF and SKIP answer too. The shard withholds what the client must not see, this answer
    # included, and counts SKIP down.
    session, mode = ctx.session, argv[2].upper()
    if mode == b"ON":
        session.reply_mode = REPLY_ON
    elif mode == b"OFF":
        session.reply_mode = REPLY_OFF
    elif mode == b"SKIP":
        if session.reply_mode != REPLY_OFF:
            session.reply_mode = REPLY_SKIP_NEXT
    else:
        raise reply.CommandError(reply.SYNTAX)
    session.update_fast_path()
    return reply.OK


@command(
    b"CLIENT|GETREDIR",
    arity=2,
    flags=_OWN,
    since="6.0.0",
    group="connection",
    summary="Where invalidation messages go; -1: tracking is off",
)
def client_getredir(ctx: Context, argv: list[bytes]) -> bytes:
    return reply.MINUS_ONE


@command(
    b"CLIENT|TRACKINGINFO",
    arity=2,
    flags=_OWN,
    since="6.2.0",
    group="connection",
    summary="How this connection tracks keys",
)
def client_trackinginfo(ctx: Context, argv: list[bytes]) -> bytes:
    off = ctx.set([reply.bulk(b"off")])
    return ctx.map(
        [
            reply.bulk(b"flags"),
            off,
            reply.bulk(b"redirect"),
            reply.MINUS_ONE,
            reply.bulk(b"prefixes"),
            reply.EMPTY_ARRAY,
        ]
    )


@command(
    b"CLIENT|NO-EVICT",
    arity=3,
    flags=_ADMIN,
    since="7.0.0",
    group="connection",
    summary="Protect this connection when clients are dropped to save memory",
)
def client_no_evict(ctx: Context, argv: list[bytes]) -> bytes:
    mode = argv[2].upper()
    if mode not in (b"ON", b"OFF"):
        raise reply.CommandError(reply.SYNTAX)
    ctx.session.no_evict = mode == b"ON"
    return reply.OK


# --------------------------------------------------------------------------- other connections


@command(
    b"CLIENT|LIST",
    arity=-2,
    flags=_ADMIN,
    since="2.4.0",
    group="connection",
    summary="Describe connections",
    complexity="O(N), N connections",
)
def client_list(ctx: Context, argv: list[bytes]) -> bytes:
    sessions = _everyone(ctx)
    if len(argv) == 4 and argv[2].upper() == b"TYPE":
        fits = _of_type(argv[3])
        sessions = [session for session in sessions if fits(session)]
    elif len(argv) > 3 and argv[2].upper() == b"ID":
        wanted = [parse_integer(arg) for arg in argv[3:]]
        if None in wanted:
            raise reply.CommandError("ERR Invalid client ID")
        known = {session.id: session for session in sessions}
        sessions = [known[id] for id in wanted if id is not None and id in known]
    elif len(argv) != 2:
        raise reply.CommandError(reply.SYNTAX)
    return _lines(ctx, argv, sessions)


def _kill_filters(argv: list[bytes]) -> tuple[list[Callable[[Session], bool]], bool]:
    """Return the conditions that a connection must all meet, and whether the caller's own is
    spared.
    """
    if len(argv) % 2 or len(argv) < 4:
        raise reply.CommandError(reply.SYNTAX)
    filters: list[Callable[[Session], bool]] = []
    spare_own = True
    for option, value in zip(argv[2::2], argv[3::2], strict=True):
        name = option.upper()
        if name == b"ID":
            filters.append(_with_id(value))
        elif name == b"TYPE":
            filters.append(_of_type(value))
        elif name == b"ADDR":
            filters.append(_from_address(reply.text(value)))
        elif name == b"LADDR":
            filters.append(_to_address(reply.text(value)))
        elif name == b"USER":
            if value != b"default":
                raise reply.CommandError(f"ERR No such user '{reply.text(value)}'")
        elif name == b"SKIPME" and value.upper() in (b"YES", b"NO"):
            spare_own = value.upper() == b"YES"
        else:
            raise reply.CommandError(reply.SYNTAX)
    return filters, spare_own


def _with_id(value: bytes) -> Callable[[Session], bool]:
    wanted = parse_integer(value)
    if wanted is None or wanted < 1:
        raise reply.CommandError("ERR client-id should be greater than 0")
    return lambda session: session.id == wanted


def _from_address(address: str) -> Callable[[Session], bool]:
    return lambda session: session.address == address


def _to_address(address: str) -> Callable[[Session], bool]:
    return lambda session: session.laddr == address


@command(
    b"CLIENT|KILL",
    arity=-3,
    flags=_ADMIN,
    since="2.4.0",
    group="connection",
    summary="Close connections",
    complexity="O(N), N connections",
)
def client_kill(ctx: Context, argv: list[bytes]) -> bytes:
    old_form = len(argv) == 3
    filters, spare_own = (
        ([_from_address(reply.text(argv[2]))], False) if old_form else _kill_filters(argv)
    )
    killed = 0
    for session in _everyone(ctx):
        own = session is ctx.session
        if session.closing or (own and spare_own) or not all(fits(session) for fits in filters):
            continue
        session.closing = True
        session.update_fast_path()
        ctx.engine.requests.append(CloseSession(session, after_replies=own))
        killed += 1
        if old_form:
            break
    if old_form:
        if not killed:
            raise reply.CommandError("ERR No such client")
        return reply.OK
    return reply.integer(killed)


# --------------------------------------------------------------------------- pausing


@command(
    b"CLIENT|PAUSE",
    arity=-3,
    flags=_ADMIN,
    since="2.9.50",
    group="connection",
    summary="Let commands wait for a while",
)
def client_pause(ctx: Context, argv: list[bytes]) -> bytes:
    engine, mode = ctx.engine, PAUSE_ALL
    if len(argv) > 4:
        raise reply.CommandError(reply.SYNTAX)
    if len(argv) == 4:
        word = argv[3].upper()
        if word not in (b"WRITE", b"ALL"):
            raise reply.CommandError("ERR CLIENT PAUSE mode must be WRITE or ALL")
        mode = PAUSE_WRITE if word == b"WRITE" else PAUSE_ALL
    timeout_ms = parse_integer(argv[2])
    if timeout_ms is None or timeout_ms > INT64_MAX - ctx.wall_ms:
        raise reply.CommandError("ERR timeout is not an integer or out of range")
    if timeout_ms < 0:
        raise reply.CommandError("ERR timeout is negative")
    # Another pause may make the current pause longer or stricter, never shorter or weaker.
    if engine.pause_mode != PAUSE_NONE and ctx.wall_ms < engine.pause_until_ms:
        engine.pause_mode = max(engine.pause_mode, mode)
        engine.pause_until_ms = max(engine.pause_until_ms, ctx.wall_ms + timeout_ms)
    else:
        engine.pause_mode = mode
        engine.pause_until_ms = ctx.wall_ms + timeout_ms
    engine.requests.append(Pause(engine.pause_until_ms))
    return reply.OK


@command(
    b"CLIENT|UNPAUSE",
    arity=2,
    flags=_ADMIN,
    since="6.2.0",
    group="connection",
    summary="End a pause",
)
def client_unpause(ctx: Context, argv: list[bytes]) -> bytes:
    ctx.engine.pause_mode = PAUSE_NONE
    ctx.engine.pause_until_ms = 0
    ctx.engine.requests.append(Unpause())
    return reply.OK


_HELP: Final = [
    ("GETNAME", "The name of this connection."),
    ("GETREDIR", "Where this connection's invalidation messages go."),
    ("ID", "The number of this connection."),
    ("INFO", "Describe this connection."),
    ("KILL <ip:port>", "Close the connection from this address."),
    (
        "KILL <option> <value> [...]",
        "Close connections by ID, ADDR, LADDR, TYPE, USER; SKIPME (YES|NO).",
    ),
    ("LIST [TYPE <type>|ID <id> ...]", "Describe connections."),
    ("NO-EVICT (ON|OFF)", "Protect this connection when clients are dropped."),
    ("PAUSE <milliseconds> [WRITE|ALL]", "Let commands wait."),
    ("REPLY (ON|OFF|SKIP)", "Whether this connection is answered."),
    ("SETINFO (LIB-NAME|LIB-VER) <value>", "Say which client library this is."),
    ("SETNAME <name>", "Name this connection."),
    ("TRACKINGINFO", "How this connection tracks keys."),
    ("UNPAUSE", "End a pause."),
]


@command(
    b"CLIENT|HELP",
    arity=2,
    flags=LOADING | STALE | LOCAL,
    since="5.0.0",
    group="connection",
    summary="Show CLIENT's subcommands",
)
def client_help(ctx: Context, argv: list[bytes]) -> bytes:
    return help_reply("CLIENT", _HELP)
