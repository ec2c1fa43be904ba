"""Who may do what: the one access check, and the one reader of ``requirepass``.

Decides: who is authenticated, and whether a session may run a row with the keys in its argv.
Must not know: roles, the log, sockets. Whoever begins a command asks `refusal`, but only for a
session that is ``restricted``: an unrestricted one may run every row with every key. Users with
rules of their own (ACL) are restricted sessions too.
Invariant: a session that is not authenticated is restricted.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import Final

from memstore.engine.command import NO_AUTH, Row
from memstore.engine.session import Session
from memstore.engine.settings import Settings

NOAUTH: Final = b"-NOAUTH Authentication required.\r\n"
DEBUG_REFUSED: Final = (
    'ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", you can '
    "run it from a local connection, "
    "otherwise you need to set this option in the configuration file, and then restart the server."
)
_LOCAL: Final = ("127.", "[::1]:", "::1", "/")  # how addresses of this machine begin


def needs_password(settings: Settings) -> bool:
    """Whether a new session has to authenticate."""
    return bool(settings.requirepass)


def link_password(settings: Settings) -> str:
    """What this node shows to another node of its shard; empty: nothing."""
    return settings.requirepass


def authenticate(settings: Settings, session: Session, user: bytes, password: bytes) -> bool:
    """Whether the user and its password are right; then the session is authenticated."""
    wanted = settings.requirepass.encode("utf-8", "surrogateescape")
    # Compared even when the user is wrong, so that the time tells nothing.
    right = compare_digest(password, wanted) or not wanted
    if user != b"default" or not right:
        return False
    session.authenticate(True)
    return True


def reset(settings: Settings, session: Session) -> None:
    """The session is as a new one."""
    session.authenticate(not settings.requirepass)


def refusal(session: Session, row: Row, argv: list[bytes]) -> bytes | None:
    """The error for a restricted session that may not run ``row`` with ``argv``; None: it may."""
    if not session.authenticated and not row.flags & NO_AUTH:
        return NOAUTH
    return None


def may_debug(settings: Settings, session: Session) -> bool:
    """Whether ``enable-debug-command`` lets the session call DEBUG. As in Redis a refusal comes
    before the command is queued, so such a transaction does not run.
    """
    mode, address = settings.enable_debug_command, session.address
    return mode == "yes" or (mode == "local" and (address == "" or address.startswith(_LOCAL)))
