"""Commands about the client's own connection: authentication, protocol, name, liveness.

Decides: how a client authenticates and greets.
Must not know: sockets; a request to the node closes a connection. `engine.access` decides whether a
password is right, and what a client may run.
"""

from __future__ import annotations

from typing import Final

from memstore.engine import access, reply
from memstore.engine.command import (
    ALLOW_BUSY,
    FAST,
    LOADING,
    LOCAL,
    NO_AUTH,
    NOSCRIPT,
    STALE,
    command,
)
from memstore.engine.context import Context
from memstore.engine.requests import CloseSession
from memstore.engine.session import REPLY_ON, STRONG
from memstore.engine.transaction import end_transaction
from memstore.engine.values import parse_integer
from memstore.version import REDIS_VERSION

WRONGPASS: Final = "WRONGPASS invalid username-password pair or user is disabled."
_NO_PASSWORD: Final = (
    "ERR AUTH <password> called without any password configured for the default user. Are you "
    "sure your configuration is correct?"
)
_HELLO_FIRST: Final = (
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH "
    "<user> <pass> option can be used to "
    "authenticate the client and select the RESP protocol version at the same time"
)
_BAD_NAME: Final = "ERR Client names cannot contain spaces, newlines or special characters."
_SOON: Final = NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY | LOCAL


def role_word(role: str) -> bytes:
    """Return a node's role as one of the two words that clients know."""
    return b"master" if role == "primary" else b"replica"


def checked_name(name: bytes) -> bytes:
    """Return a name for a connection: printable ASCII without blanks, or empty."""
    if any(not 0x21 <= byte <= 0x7E for byte in name):
        raise reply.CommandError(_BAD_NAME)
    return name


def _authenticate(ctx: Context, user: bytes, password: bytes) -> None:
    if not access.authenticate(ctx.engine.settings, ctx.session, user, password):
        raise reply.CommandError(WRONGPASS)


@command(
    b"AUTH",
    arity=-2,
    flags=_SOON,
    group="connection",
    summary="Show the password",
    complexity="O(1)",
)
def auth(ctx: Context, argv: list[bytes]) -> bytes:
    if len(argv) > 3:
        raise reply.CommandError(reply.SYNTAX)
    if len(argv) == 2 and not access.needs_password(ctx.engine.settings):
        raise reply.CommandError(_NO_PASSWORD)
    user, password = (b"default", argv[1]) if len(argv) == 2 else (argv[1], argv[2])
    _authenticate(ctx, user, password)
    return reply.OK


@command(
    b"HELLO",
    arity=-1,
    flags=_SOON,
    since="6.0.0",
    group="connection",
    summary="Choose the protocol, and show the password or a name on the way",
)
def hello(ctx: Context, argv: list[bytes]) -> bytes:
    session = ctx.session
    version = 3 if session.resp3 else 2
    if len(argv) > 1:
        asked = parse_integer(argv[1])
        if asked is None:
            raise reply.CommandError("ERR Protocol version is not an integer or out of range")
        if asked not in (2, 3):
            raise reply.CommandError("NOPROTO unsupported protocol version")
        version = asked
    credentials: tuple[bytes, bytes] | None = None
    name: bytes | None = None
    i = 2
    while i < len(argv):
        option = argv[i].upper()
        if option == b"AUTH" and i + 2 < len(argv):
            credentials = (argv[i + 1], argv[i + 2])
            i += 3
        elif option == b"SETNAME" and i + 1 < len(argv):
            name = checked_name(argv[i + 1])
            i += 2
        else:
            raise reply.CommandError(f"ERR Syntax error in HELLO option '{reply.text(argv[i])}'")
    if credentials is not None:
        _authenticate(ctx, *credentials)
    if not session.authenticated:
        raise reply.CommandError(_HELLO_FIRST)
    if name is not None:
        session.name = name
    session.resp3 = version == 3
    ctx.follow(session)
    return _greeting(ctx)


def _greeting(ctx: Context) -> bytes:
    mode = b"cluster" if ctx.engine.settings.cluster_enabled else b"standalone"
    pairs: list[tuple[bytes, bytes]] = [
        (b"server", reply.bulk(b"redis")),
        (b"version", reply.bulk(REDIS_VERSION.encode())),
        (b"proto", reply.integer(3 if ctx.resp3 else 2)),
        (b"id", reply.integer(ctx.session.id)),
        (b"mode", reply.bulk(mode)),
        (b"role", reply.bulk(role_word(ctx.engine.facts.role))),
        (b"modules", reply.EMPTY_ARRAY),
    ]
    return ctx.map([part for name, value in pairs for part in (reply.bulk(name), value)])


@command(
    b"PING",
    arity=-1,
    flags=FAST | LOCAL,
    group="connection",
    summary="Ask whether the node answers",
)
def ping(ctx: Context, argv: list[bytes]) -> bytes:
    if len(argv) > 2:
        raise reply.CommandError("ERR wrong number of arguments for 'ping' command")
    return reply.PONG if len(argv) == 1 else reply.bulk(argv[1])


@command(
    b"ECHO",
    arity=2,
    flags=FAST | LOCAL | LOADING | STALE,
    group="connection",
    summary="Give back what was sent",
)
def echo(ctx: Context, argv: list[bytes]) -> bytes:
    return reply.bulk(argv[1])


@command(
    b"QUIT",
    arity=-1,
    flags=_SOON,
    group="connection",
    summary="Close this connection once everything has been answered",
)
def quit_(ctx: Context, argv: list[bytes]) -> bytes:
    session = ctx.session
    session.closing = True
    session.update_fast_path()
    ctx.engine.requests.append(CloseSession(session, after_replies=True))
    return reply.OK


@command(
    b"RESET",
    arity=1,
    flags=_SOON,
    since="6.2.0",
    group="connection",
    summary="Make this connection as it was when it was opened",
)
def reset(ctx: Context, argv: list[bytes]) -> bytes:
    session, engine = ctx.session, ctx.engine
    end_transaction(engine, session)
    if session.monitor:
        session.monitor = False
        engine.monitors.remove(session)
    session.name = b""
    session.db = 0
    session.resp3 = False
    session.reply_mode = REPLY_ON
    session.reads = STRONG
    session.readonly = False
    access.reset(engine.settings, session)
    ctx.follow(session)
    return b"+RESET\r\n"
