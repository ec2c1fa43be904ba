"""Access control: the one access check, and the one reader of ``requirepass``.

Decides: whether a session is authenticated, and whether it may run a row with the keys in its argv.
Must not know: roles, the log, sockets.

The code that starts a command asks `refusal`, but only for a session that is ``restricted``. An
unrestricted session may run every row with every key. A user with rules of its own (ACL) has a
restricted session too.

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
_LOCAL: Final = ("127.", "[::1]:", "::1", "/")  # how addresses of this machine start


def needs_password(settings: Settings) -> bool:
    """Return True if a new session must authenticate."""
    return bool(settings.requirepass)


def link_password(settings: Settings) -> str:
    """Return the password this node sends to other nodes of its shard; empty: it sends none."""
    return settings.requirepass


def authenticate(settings: Settings, session: Session, user: bytes, password: bytes) -> bool:
    """Return True if user and password are right, and then authenticates the session."""
    wanted = settings.requirepass.encode("utf-8", "surrogateescape")
    # The comparison runs even for a wrong user, so that its time reveals nothing.
    right = compare_digest(password, wanted) or not wanted
    if user != b"default" or not right:
        return False
    session.authenticate(True)
    return True


def reset(settings: Settings, session: Session) -> None:
    """Set the session's access back to that of a new session."""
    session.authenticate(not settings.requirepass)


def refusal(session: Session, row: Row, argv: list[bytes]) -> bytes | None:
    """Return the error if a restricted session may not run ``row`` with ``argv``, else None."""
    if not session.authenticated and not row.flags & NO_AUTH:
        return NOAUTH
    return None


def may_debug(settings: Settings, session: Session) -> bool:
    """Return True if ``enable-debug-command`` allows DEBUG for this session.
    As in Redis, a refusal comes before the command is queued, so such a transaction does not run.
    """
    mode, address = settings.enable_debug_command, session.address
    return mode == "yes" or (mode == "local" and (address == "" or address.startswith(_LOCAL)))
