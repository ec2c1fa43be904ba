"""One file a command family; importing this package fills the command table."""

from memstore.commands import (
    clients,
    configuration,
    connection,
    counters,
    databases,
    debug,
    expires,
    generic,
    info,
    introspection,
    lcs,
    memory,
    server,
    strings,
    transactions,
    watching,
)

__all__ = [
    "clients",
    "configuration",
    "connection",
    "counters",
    "databases",
    "debug",
    "expires",
    "generic",
    "info",
    "introspection",
    "lcs",
    "memory",
    "server",
    "strings",
    "transactions",
    "watching",
]
