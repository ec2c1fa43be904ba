"""Who may speak on a connection: the proof of the shared secret and the words in which a node refuses.

Decides: what a proof is, and which refusals are for good. Must not know: sockets. A node always speaks first with a `Challenge`; its nonce is empty
where no secret is set, so that a caller never has to guess. Invariant: proofs are compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from txlog.messages import Hello

NONCE_BYTES: Final = 32
INCARNATION_BYTES: Final = 16

# A refusal starts with one of these words. Those of FINAL do not change by waiting: the caller is wrong, not early.
SECRET: Final = "secret"
NAME: Final = "name"
GROUP: Final = "group"
PROTOCOL: Final = "protocol"
MEMBERSHIP: Final = "membership"  # of another version than the node has; the refusal says which
NO_GROUP: Final = "no-group"
NO_LOG: Final = "no-log"
BUSY: Final = "busy"
LOG: Final = "log"
FINAL: Final = frozenset((SECRET, NAME, GROUP, PROTOCOL))


def prove(secret: bytes, nonce: bytes, hello: Hello) -> bytes:
    """The proof that belongs to this Hello in answer to this nonce: it covers what the Hello claims."""
    text = b"\0".join((b"txlog-hello", nonce, hello.log.encode(), hello.purpose.encode(), hello.incarnation))
    return hmac.new(secret, text, hashlib.sha256).digest()


def proven(secret: bytes, nonce: bytes, hello: Hello) -> bool:
    return hmac.compare_digest(prove(secret, nonce, hello), hello.proof)


def is_final(reason: str) -> bool:
    return reason.partition(":")[0] in FINAL
