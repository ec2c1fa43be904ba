"""DEBUG is off unless the settings allow it: who may call it, and what all others are told.

Decides: whether a session may call DEBUG (``enable-debug-command``).
Must not know: what DEBUG does. As in Redis the command is refused before it is queued in a
transaction, so such a transaction does not run.
"""

from __future__ import annotations

from typing import Final

from memstore.engine.session import Session
from memstore.engine.settings import Settings

REFUSED: Final = (
    'ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", you can '
    "run it from a local connection, "
    "otherwise you need to set this option in the configuration file, and then restart the server."
)
_LOCAL: Final = ("127.", "[::1]:", "::1", "/")  # how addresses of this machine begin


def may_debug(settings: Settings, session: Session) -> bool:
    mode, address = settings.enable_debug_command, session.address
    return mode == "yes" or (mode == "local" and (address == "" or address.startswith(_LOCAL)))
