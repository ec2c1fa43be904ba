"""One file a command family; importing this package fills the command table."""

from memstore.commands import counters, databases, expires, generic, lcs, strings, transactions

__all__ = ["counters", "databases", "expires", "generic", "lcs", "strings", "transactions"]
