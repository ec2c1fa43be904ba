"""The roles that a node plays.

Decides: nothing.
Must not know: when they change (`roles`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Role(StrEnum):
    RESTORING = "restoring"
    REPLICA = "replica"
    CANDIDATE = "candidate"
    PRIMARY = "primary"


# Compiled code compares with these names: it finds them without a look-up in the class.
RESTORING: Final = Role.RESTORING
REPLICA: Final = Role.REPLICA
CANDIDATE: Final = Role.CANDIDATE
PRIMARY: Final = Role.PRIMARY
