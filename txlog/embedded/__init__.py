"""The embedded log: the log node of a group of one, in its client's process, without a socket.

Decides: nothing; names what this package offers. It is above `txlog.client` and `txlog.server`,
which do not import each other.
Must not know: what the log is used for.
"""

from txlog.embedded.local_log import EmbeddedLog, make_client

__all__ = ["EmbeddedLog", "make_client"]
