"""What a node knows of itself and of its shard, for display (INFO, ROLE, HELLO, CLUSTER) and never for safety. The shard and the driver write it; commands read it."""

from __future__ import annotations


class Facts:
    def __init__(self) -> None:
        self.role = "restoring"  # restoring, replica, candidate, primary
