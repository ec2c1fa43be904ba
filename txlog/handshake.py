"""Which peer may speak on a connection, and how a node words a refusal.
docs/handshake.md describes the messages and what they prove.

Decides: what each side proves and when the other believes it; which refusals are final.
Must not know: sockets, clocks, the source of randomness (nonces are given). Both classes take bytes
and give bytes; their owner has the socket and the time limit.

A node speaks first. Where a shared secret is set, the caller proves it to that node, in that
session, for what its Hello claims. The node proves it in its Welcome, or in its refusal. From then
on each frame has a tag under a key of this session and direction.

Invariants: nothing that a peer says is believed before its proof is verified; a peer without a
secret and one with a secret never work together; proofs are compared in constant time; what is read
before the proof is bounded.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from typing import Final

from txlog import wire
from txlog.messages import Challenge, Hello, Message, ProvenReject, Reject, Welcome
from txlog.wire import DEFAULT_MAX_FRAME_BYTES, Decoder, FrameKey, encode

NONCE_BYTES: Final = 32
PROOF_BYTES: Final = 32
INCARNATION_BYTES: Final = 16
MAX_BYTES: Final = 16 << 10  # of a frame before the handshake is over
MAX_REASON: Final = 400  # characters of a refusal that are shown

# A refusal starts with one of these words. Waiting does not change those of FINAL: the caller is
# wrong, not early.
SECRET: Final = "secret"
NAME: Final = "name"
GROUP: Final = "group"
PROTOCOL: Final = "protocol"
# of another version than the node has; the refusal says which one the node has
MEMBERSHIP: Final = "membership"
NO_GROUP: Final = "no-group"
NO_LOG: Final = "no-log"
BUSY: Final = "busy"
# the address belongs to another node than the one that answers there; not final: the relay may
# disappear
ADDRESS: Final = "address"
LOG: Final = "log"
UNPROVEN: Final = "unproven"  # anything said by a peer that has not proven the secret
FINAL: Final = frozenset((SECRET, NAME, GROUP, PROTOCOL))
# what a correct node may have to say before it knows that its caller has the secret
_BEFORE_PROOF: Final = (SECRET, PROTOCOL, BUSY)

# The purpose of each value made from the secret: a value of one purpose is never a value of
# another. Each value also includes the protocol's version.
_CALLER: Final = b"caller"
_NODE: Final = b"node"
_REFUSAL: Final = b"refusal"
_FROM_CALLER: Final = b"frames from the caller"
_FROM_NODE: Final = b"frames from the node"


def is_final(reason: str) -> bool:
    return reason.partition(":")[0] in FINAL


def is_early(reason: str) -> bool:
    """May a node have said this before it proved the secret? An impostor may have said it too."""
    return reason.partition(":")[0] in _BEFORE_PROOF


class HandshakeError(Exception):
    """The handshake is over. ``reason`` is one line.
    ``reject``: what the node said, if it may be believed. ``unproven``: an impostor may have said
    it.
    """

    def __init__(self, reason: str, reject: Reject | None = None, unproven: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.reject = reject
        self.unproven = unproven


def _derive(secret: bytes, purpose: bytes, *parts: bytes) -> bytes:
    """HMAC-SHA256 over the purpose and the parts, each with its length before it."""
    text = [b"memstore txlog ", str(wire.PROTOCOL).encode(), b"\0"]
    for part in (purpose, *parts):
        text += [len(part).to_bytes(8, "big"), part]
    return hmac.digest(secret, b"".join(text), hashlib.sha256)


def _shown(text: str) -> str:
    """A peer's words, made safe for a terminal or a log."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:MAX_REASON])


def _hello_claims(hello: Hello) -> bytes:
    """The Hello that the caller's proof covers: with the caller's nonce and without the proof."""
    return encode(replace(hello, proof=hello.proof[:NONCE_BYTES]))


class _Keys:
    """The keys of one session, by direction."""

    __slots__ = ("from_caller", "from_node")

    def __init__(self, secret: bytes, challenge: bytes, hello: bytes, welcome: bytes) -> None:
        self.from_caller = FrameKey(_derive(secret, _FROM_CALLER, challenge, hello, welcome))
        self.from_node = FrameKey(_derive(secret, _FROM_NODE, challenge, hello, welcome))


class Caller:
    """The side that connects.
    Feed it the bytes that come and send the bytes it gives, until ``welcome`` is there. Then
    ``decoder`` gives the messages. First call it with ``b""``, because bytes may have come after
    the Welcome. ``outgoing``, if it is not None, makes the tag to send after each frame.
    """

    def __init__(
        self,
        hello: Hello,
        secret: bytes | None,
        nonce: bytes,
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
    ) -> None:
        """``nonce``: `NONCE_BYTES` fresh random bytes."""
        assert len(nonce) == NONCE_BYTES, "a nonce of another length"
        self.welcome: Welcome | None = None
        # the node has sent its Challenge, and our Hello is ready to be sent
        self.challenged = False
        self.outgoing: FrameKey | None = None
        self.decoder = Decoder(MAX_BYTES)
        self.decoder.single = True
        self._hello = hello
        self._secret = secret
        self._nonce = nonce
        self._max_frame_bytes = max_frame_bytes
        self._challenge = b""
        self._hello_frame = b""
        self._identity = b""

    def feed(self, data: bytes) -> bytes:
        """The bytes to send; ``b""`` means none.
        Raises `HandshakeError`, and `wire.WireError` when these are not our protocol's bytes.
        """
        out = b""
        messages = self.decoder.feed(data)
        while messages:
            out += self._on_message(messages[0])
            # read after the call and not before: compiled code reuses the first result for a second
            # read
            if self.welcome is not None:
                break
            messages = self.decoder.feed(b"")
        return out

    def _on_message(self, message: Message) -> bytes:
        if isinstance(message, Challenge) and not self.challenged:
            return self._answer(message)
        if isinstance(message, Welcome) and self.challenged:
            self._on_welcome(message)
            return b""
        if isinstance(message, ProvenReject) and self._secret is not None and self.challenged:
            text = encode(replace(message, proof=b""))
            if hmac.compare_digest(
                _derive(self._secret, _REFUSAL, self._challenge, self._hello_frame, text),
                message.proof,
            ):
                raise HandshakeError(
                    _shown(message.reason), Reject(message.reason, message.version, message.members)
                )
            raise HandshakeError(
                f"{SECRET}: the node refuses, and does not prove the shared secret", unproven=True
            )
        if isinstance(message, Reject):
            self._on_reject(message)
        raise HandshakeError(
            f"{UNPROVEN}: a {type(message).__name__} before the handshake was over", unproven=True
        )

    def _answer(self, challenge: Challenge) -> bytes:
        secret, hello = self._secret, self._hello
        if not challenge.nonce and secret is not None:
            raise HandshakeError(
                f"{SECRET}: the node has no shared secret, and one is set here: it is not believed",
                unproven=True,
            )
        if challenge.nonce and secret is None:
            raise HandshakeError(
                f"{SECRET}: the node asks for the shared secret and none is set here", unproven=True
            )
        if secret is not None and len(challenge.nonce) < NONCE_BYTES:
            raise HandshakeError(
                f"{SECRET}: the node's challenge has {len(challenge.nonce)} bytes, not "
                f"{NONCE_BYTES} at the least",
                unproven=True,
            )
        self.challenged = True
        self._challenge = challenge.nonce
        if secret is not None:
            self._identity = challenge.nonce[NONCE_BYTES:]
            hello = replace(hello, proof=self._nonce)
            hello.proof = self._nonce + _derive(
                secret, _CALLER, self._challenge, _hello_claims(hello)
            )
        self._hello_frame = encode(hello)
        return self._hello_frame

    def _on_welcome(self, welcome: Welcome) -> None:
        secret, key = self._secret, None
        if secret is not None:
            text = encode(replace(welcome, proof=b""))
            proof = _derive(secret, _NODE, self._challenge, self._hello_frame, text)
            if not hmac.compare_digest(proof, welcome.proof):
                raise HandshakeError(
                    f"{SECRET}: the node does not prove the shared secret: it has another one, or "
                    "is an impostor",
                    unproven=True,
                )
            if identity_text(welcome.group, welcome.node) != self._identity:
                raise HandshakeError(f"{BUSY}: the node's identity changed during the handshake")
            keys = _Keys(secret, self._challenge, self._hello_frame, text)
            self.outgoing, key = keys.from_caller, keys.from_node
        self.welcome = welcome
        self.decoder.open(self._max_frame_bytes, key)

    def _on_reject(self, reject: Reject) -> None:
        """A refusal in plain form.
        Where a secret is set, only a node that does not have our proof yet sends it. Then it cannot
        be believed.
        """
        if self._secret is None:
            raise HandshakeError(_shown(reject.reason), reject)
        raise HandshakeError(
            _shown(reject.reason if is_early(reject.reason) else f"{UNPROVEN}: {reject.reason}"),
            unproven=True,
        )


def identity_text(group: bytes, node: str) -> bytes:
    """A node's identity as its Challenge names it."""
    return len(group).to_bytes(1, "big") + group + node.encode()


class Door:
    """The node's side.
    Send `opening`, feed it the bytes that come until there is a Hello, then answer with `welcome`
    or `reject`. Then ``decoder`` gives the messages (first call it with ``b""``). ``outgoing``, if
    it is not None, makes the tag to send after each frame.
    """

    def __init__(self, secret: bytes | None, nonce: bytes, group: bytes, node: str) -> None:
        """``nonce``: `NONCE_BYTES` fresh random bytes.
        ``group`` and ``node``: this node's identity, empty when it belongs to no group.
        """
        assert len(nonce) == NONCE_BYTES, "a nonce of another length"
        self.hello: Hello | None = None  # set once it is proven
        self.outgoing: FrameKey | None = None
        self.decoder = Decoder(MAX_BYTES)
        self.decoder.single = True
        self._secret = secret
        self._challenge = nonce + identity_text(group, node) if secret is not None else b""
        self._hello_frame = b""
        self._open = False

    def opening(self) -> bytes:
        return encode(Challenge(self._challenge))

    def feed(self, data: bytes) -> Hello | None:
        """The caller's Hello, once it is there and proven.
        Raises `HandshakeError`, whose ``reject`` is to be sent in plain form, and `wire.WireError`.
        """
        messages = self.decoder.feed(data)
        if not messages:
            return None
        hello = messages[0]
        # bytes before our answer have to wait; after a refusal nothing more is read
        self.decoder.held = True
        if not isinstance(hello, Hello):
            raise HandshakeError(f"{PROTOCOL}: a {type(hello).__name__} before Hello")
        if hello.protocol != wire.PROTOCOL:
            raise HandshakeError(
                f"{PROTOCOL}: version {hello.protocol} is spoken there, {wire.PROTOCOL} here"
            )
        if self._secret is not None:
            if len(hello.proof) != NONCE_BYTES + PROOF_BYTES:
                raise HandshakeError(f"{SECRET}: the shared secret is missing")
            if not hmac.compare_digest(
                _derive(self._secret, _CALLER, self._challenge, _hello_claims(hello)),
                hello.proof[NONCE_BYTES:],
            ):
                raise HandshakeError(f"{SECRET}: the shared secret is another one")
        elif hello.proof:
            raise HandshakeError(
                f"{SECRET}: this node has no shared secret, and the caller proves one"
            )
        self.hello = hello
        self._hello_frame = encode(hello)
        return hello

    def welcome(self, welcome: Welcome, max_frame_bytes: int) -> bytes:
        assert self.hello is not None and not self._open, "a Welcome without a Hello"
        self._open = True
        key = None
        if self._secret is not None:
            text = encode(replace(welcome, proof=b""))
            welcome.proof = _derive(self._secret, _NODE, self._challenge, self._hello_frame, text)
            keys = _Keys(self._secret, self._challenge, self._hello_frame, text)
            self.outgoing, key = keys.from_node, keys.from_caller
        self.decoder.open(max_frame_bytes, key)
        return encode(welcome)

    def reject(self, reject: Reject) -> bytes:
        """The refusal in the form that this caller may get now."""
        if self._open:
            frame = encode(reject)
            return frame if self.outgoing is None else frame + self.outgoing.tag(frame)
        if self._secret is None or self.hello is None:
            return encode(reject)
        proven = ProvenReject(reject.reason, reject.version, list(reject.members))
        proven.proof = _derive(
            self._secret, _REFUSAL, self._challenge, self._hello_frame, encode(proven)
        )
        return encode(proven)
