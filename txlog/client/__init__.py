"""The transaction log for its users: `LogClient` connects to a group of log nodes or opens an
embedded log.

Decides: nothing; names what this package offers.
Must not know: its users.
"""

from txlog.address import AddressError, LogAddress
from txlog.client.client import LogClient, LogRefused, NodeState, NoMajority
from txlog.client.quorum_queries import ProbeResult
from txlog.client.subscription import Subscription
from txlog.client.writer import CampaignLost, Writer
from txlog.clock import now_us, timer_s
from txlog.messages import Heartbeat

__all__ = [
    "AddressError",
    "CampaignLost",
    "Heartbeat",
    "LogAddress",
    "LogClient",
    "LogRefused",
    "NoMajority",
    "NodeState",
    "ProbeResult",
    "Subscription",
    "Writer",
    "now_us",
    "timer_s",
]
