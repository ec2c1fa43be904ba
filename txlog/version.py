"""The version of txlog, which is that of the whole repository.

Decides: nothing.
Must not know: anything. It is plain text, because reading the package's metadata would be I/O.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
