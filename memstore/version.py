"""The version of memstore, and the Redis version whose behaviour it follows. Kept as plain text:
asking the package's metadata would be I/O.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
REDIS_VERSION: Final = "7.0.15"
