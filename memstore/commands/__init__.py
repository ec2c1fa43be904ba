"""One file a command family; importing this package fills the command table."""

from memstore.commands import strings  # noqa: F401
