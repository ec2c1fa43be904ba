"""The handshake without a socket: which side proves what.

The tests also show what an attacker between two honest sides cannot do. The attackers here know all
messages that were ever sent, but not the secret.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from txlog import handshake
from txlog.handshake import NONCE_BYTES, Caller, Door, HandshakeError
from txlog.messages import Challenge, Hello, Message, ProvenReject, Reject, TailQuery, Welcome
from txlog.wire import PROTOCOL, Decoder, WireError, encode

SECRET = b"a secret of some length"
OTHER = b"another secret of some length"
GROUP = b"g" * 16
MAX_FRAME = 1 << 20

_nonces = 0


def nonce() -> bytes:
    """A new random nonce."""
    global _nonces
    _nonces += 1
    return _nonces.to_bytes(NONCE_BYTES, "big")


def hello(log: str = "shard-0", purpose: str = "writer") -> Hello:
    return Hello(PROTOCOL, log, b"i" * 16, purpose, 1, GROUP)


def caller(secret: bytes | None = SECRET, greeting: Hello | None = None) -> Caller:
    return Caller(greeting or hello(), secret, nonce(), MAX_FRAME)


def door(secret: bytes | None = SECRET, node: str = "a") -> Door:
    return Door(secret, nonce(), GROUP, node)


def welcome(node: str = "a") -> Welcome:
    return Welcome(node, "zone", GROUP, 1, ["a=h:1", "b=h:2", "c=h:3"], b"n" * 16, "folder")


def sealed(side: Caller | Door, message: Message) -> bytes:
    frame = encode(message)
    return frame if side.outgoing is None else frame + side.outgoing.tag(frame)


def shake(here: Caller, there: Door, node: str = "a") -> None:
    out = here.feed(there.opening())
    assert there.feed(out) is not None
    assert here.feed(there.welcome(welcome(node), MAX_FRAME)) == b""
    assert here.welcome is not None


def one(data: bytes) -> Message:
    (message,) = Decoder().feed(data)
    return message


# --------------------------------------------------------------------------- honest sides


@pytest.mark.parametrize("secret", [None, SECRET])
def test_two_honest_sides_speak(secret: bytes | None) -> None:
    here, there = caller(secret), door(secret)
    shake(here, there)
    assert here.welcome is not None and here.welcome.node == "a"
    for number in range(3):
        assert there.decoder.feed(sealed(here, TailQuery(number))) == [TailQuery(number)]
        assert here.decoder.feed(sealed(there, TailQuery(9))) == [TailQuery(9)]
    assert (here.outgoing is None) == (secret is None)


def test_bytes_may_come_one_by_one() -> None:
    here, there = caller(), door()
    out = b"".join(here.feed(bytes([byte])) for byte in there.opening())
    heard = [there.feed(bytes([byte])) for byte in out]
    assert heard[-1] is not None and heard[:-1] == [None] * (len(heard) - 1)
    for byte in there.welcome(welcome(), MAX_FRAME):
        here.feed(bytes([byte]))
    assert here.welcome is not None


def test_what_comes_right_behind_the_welcome_is_not_lost() -> None:
    here, there = caller(), door()
    there.feed(here.feed(there.opening()))
    here.feed(
        there.welcome(welcome(), MAX_FRAME)
        + sealed(there, TailQuery(1))
        + sealed(there, TailQuery(2))
    )
    assert here.decoder.feed(b"") == [TailQuery(1), TailQuery(2)]


def test_a_refusal_is_believed_when_the_node_proves_it() -> None:
    here, there = caller(), door()
    there.feed(here.feed(there.opening()))
    with pytest.raises(HandshakeError) as caught:
        here.feed(there.reject(Reject("membership: old", 7, ["a=h:1"])))
    assert caught.value.reject == Reject("membership: old", 7, ["a=h:1"])
    assert not caught.value.unproven


# --------------------------------------------------------------------------- impostors


def test_a_node_with_another_secret_is_not_believed() -> None:
    here, there = caller(), door(OTHER)
    out = here.feed(there.opening())
    with pytest.raises(HandshakeError, match="secret is another one"):
        there.feed(out)
    forged = door(OTHER)
    forged._challenge, forged._hello_frame, forged.hello = there._challenge, out, hello()
    with pytest.raises(HandshakeError, match="impostor") as caught:
        here.feed(forged.welcome(welcome(), MAX_FRAME))
    assert here.welcome is None and caught.value.unproven


def test_a_welcome_without_a_proof_is_not_believed() -> None:
    here, there = caller(), door()
    here.feed(there.opening())
    with pytest.raises(HandshakeError, match="does not prove the shared secret"):
        here.feed(encode(welcome()))


@pytest.mark.parametrize(
    "frame",
    [
        encode(Reject("membership: x", 99, ["a=evil:1"])),
        encode(Reject("group: x")),
        encode(Reject("name: x")),
    ],
)
def test_a_refusal_that_anybody_can_write_changes_nothing(frame: bytes) -> None:
    """Earlier, it carried memberships: a client went to any address that an impostor named."""
    here, there = caller(), door()
    here.feed(there.opening())
    with pytest.raises(HandshakeError) as caught:
        here.feed(frame)
    assert caught.value.reject is None and caught.value.unproven
    assert not handshake.is_final(caught.value.reason)


def test_a_proven_refusal_cannot_be_altered_or_made() -> None:
    for change in (
        lambda r: replace(r, version=9),
        lambda r: replace(r, members=["a=evil:1"]),
        lambda r: replace(r, proof=bytes(32)),
    ):
        here, there = caller(), door()
        there.feed(here.feed(there.opening()))
        message = one(there.reject(Reject("membership: old", 7, ["a=h:1"])))
        assert isinstance(message, ProvenReject)
        with pytest.raises(HandshakeError) as caught:
            here.feed(encode(change(message)))
        assert caught.value.reject is None


def test_the_identity_in_a_welcome_cannot_be_altered() -> None:
    """The node's proof covers its identity: an attacker cannot present node a as node b."""
    changes: list[Callable[[Welcome], Welcome]] = [
        lambda w: replace(w, node="b"), lambda w: replace(w, group=b"h" * 16),
        lambda w: replace(w, membership=2), lambda w: replace(w, members=["a=evil:1"]),
        lambda w: replace(w, folder="other"), lambda w: replace(w, incarnation=bytes(16)),
    ]  # fmt: skip
    for change in changes:
        here, there = caller(), door()
        there.feed(here.feed(there.opening()))
        message = one(there.welcome(welcome(), MAX_FRAME))
        assert isinstance(message, Welcome)
        with pytest.raises(HandshakeError, match="impostor"):
            here.feed(encode(change(message)))


def test_the_claims_in_a_hello_cannot_be_altered() -> None:
    changes: list[Callable[[Hello], Hello]] = [
        lambda h: replace(h, log="shard-1"), lambda h: replace(h, purpose="reader"),
        lambda h: replace(h, incarnation=bytes(16)), lambda h: replace(h, membership=2),
        lambda h: replace(h, group=b""),
        lambda h: replace(h, proof=bytes(NONCE_BYTES) + h.proof[NONCE_BYTES:]),
    ]  # fmt: skip
    for change in changes:
        here, there = caller(), door()
        message = one(here.feed(there.opening()))
        assert isinstance(message, Hello)
        with pytest.raises(HandshakeError, match="secret"):
            there.feed(encode(change(message)))


# ------------------------------------------------------------------------ relay, reflection, replay


def test_a_proof_for_one_node_is_none_for_another() -> None:
    """The attacker answers in the place of node a, and shows node b the caller's proof."""
    here, there = caller(), door(node="a")
    out = here.feed(there.opening())
    with pytest.raises(HandshakeError, match="secret"):
        door(node="b").feed(out)


def test_a_challenge_under_another_nodes_name_is_of_no_use() -> None:
    """Node b's nonce under node a's name: the proof is for node a, so b does not accept it."""
    here, there = caller(), door(node="b")
    message = one(there.opening())
    assert isinstance(message, Challenge)
    forged = message.nonce[:NONCE_BYTES] + handshake.identity_text(GROUP, "a")
    with pytest.raises(HandshakeError, match="secret"):
        there.feed(here.feed(encode(Challenge(forged))))


def test_a_hello_is_good_for_one_session() -> None:
    here, first = caller(), door()
    out = here.feed(first.opening())
    assert first.feed(out) is not None
    with pytest.raises(HandshakeError, match="secret"):
        door().feed(out)


def test_a_welcome_is_good_for_one_session() -> None:
    """The attacker repeats all of the node's messages of an earlier session, with its challenge."""
    here, there = caller(), door()
    opening = there.opening()
    there.feed(here.feed(opening))
    answer = there.welcome(welcome(), MAX_FRAME)
    later = caller()
    later.feed(opening)
    with pytest.raises(HandshakeError, match="impostor"):
        later.feed(answer)


def test_a_callers_own_words_are_no_proof_to_it() -> None:
    """Reflection: the caller's own bytes come back in the places of the node's values."""
    here, there = caller(), door()
    message = one(here.feed(there.opening()))
    assert isinstance(message, Hello)
    with pytest.raises(HandshakeError, match="impostor"):
        here.feed(encode(replace(welcome(), proof=message.proof[NONCE_BYTES:])))
    for proof in (message.proof[NONCE_BYTES:], message.proof[:NONCE_BYTES]):
        again = caller()
        again.feed(there.opening())
        with pytest.raises(HandshakeError) as caught:
            again.feed(encode(ProvenReject("group: x", 9, [], proof)))
        assert caught.value.reject is None


def test_frames_of_one_direction_are_none_of_the_other() -> None:
    here, there = caller(), door()
    shake(here, there)
    with pytest.raises(WireError, match="wrong tag"):
        here.decoder.feed(sealed(here, TailQuery(1)))


def test_a_wire_that_alters_leaves_out_repeats_or_moves_a_frame_is_found_out() -> None:
    def sent() -> tuple[Door, list[bytes]]:
        here, there = caller(), door()
        shake(here, there)
        return there, [sealed(here, TailQuery(number)) for number in range(3)]

    attacks: list[Callable[[list[bytes]], list[bytes]]] = [
        lambda f: [f[0], f[2]], lambda f: [f[0], f[0]], lambda f: [f[1], f[0]],
        lambda f: [f[0], encode(TailQuery(1))], lambda f: [f[0], encode(TailQuery(9)) + f[1][-16:]],
        lambda f: [f[0][:-1] + bytes([f[0][-1] ^ 1])],
    ]  # fmt: skip
    for attack in attacks:
        there, frames = sent()
        with pytest.raises(WireError):
            for frame in attack(frames):
                there.decoder.feed(frame)
            there.decoder.feed(bytes(64))  # a frame without its tag waits for one
    there, frames = sent()
    assert [message for frame in frames for message in there.decoder.feed(frame)] == [
        TailQuery(0),
        TailQuery(1),
        TailQuery(2),
    ]


def test_frames_of_another_session_have_wrong_tags() -> None:
    (here, there), (old, older) = (caller(), door()), (caller(), door())
    shake(here, there)
    shake(old, older)
    with pytest.raises(WireError, match="wrong tag"):
        there.decoder.feed(sealed(old, TailQuery(1)))


def test_what_is_sent_before_the_welcome_is_not_taken() -> None:
    here, there = caller(), door()
    there.feed(here.feed(there.opening()) + encode(TailQuery(1)))
    there.welcome(welcome(), MAX_FRAME)
    with pytest.raises(WireError, match="wrong tag"):
        there.decoder.feed(bytes(16))


# --------------------------------------------------------------------------- downgrade


def test_a_node_that_says_it_has_no_secret_is_refused() -> None:
    with pytest.raises(HandshakeError, match="no shared secret"):
        caller().feed(encode(Challenge(b"")))


def test_a_caller_without_the_secret_is_refused_by_either_side() -> None:
    there = door()
    with pytest.raises(HandshakeError, match="none is set here"):
        caller(None).feed(there.opening())
    with pytest.raises(HandshakeError, match="missing"):
        there.feed(encode(hello()))
    here = caller()
    proven = here.feed(door().opening())
    with pytest.raises(HandshakeError, match="has no shared secret"):
        door(None).feed(proven)


def test_a_second_challenge_is_not_answered() -> None:
    here, there = caller(), door()
    assert here.feed(there.opening())
    with pytest.raises(HandshakeError):
        here.feed(encode(Challenge(b"x" * 40)))


def test_after_a_refusal_nothing_is_taken() -> None:
    there = door()
    with pytest.raises(HandshakeError):
        there.feed(encode(hello()))
    good = caller()
    assert there.feed(good.feed(there.opening())) is None


@pytest.mark.parametrize("version", [0, PROTOCOL - 1, PROTOCOL + 1])
def test_versions_refuse_each_other_in_words(version: int) -> None:
    with pytest.raises(HandshakeError, match=f"version {version} is spoken there, {PROTOCOL} here"):
        door().feed(encode(replace(hello(), protocol=version)))


def test_the_forms_that_all_versions_read() -> None:
    """An older caller must be able to read the reason for its refusal.
    An older node must be able to read the Hello of a newer caller.
    """
    assert encode(Challenge(b"n"))[8:] == b"\x02\0\0\0\x01n"
    assert encode(Hello(5, "l", b"i", "p", 1, b"g", b"x"))[8:] == (
        b"\x01"
        + bytes(7)
        + b"\x05"
        + b"\0\0\0\x01l"
        + b"\0\0\0\x01i"
        + b"\0\0\0\x01p"
        + bytes(7)
        + b"\x01"
        + b"\0\0\0\x01g"
        + b"\0\0\0\x01x"
    )
    assert (
        encode(Reject("r", 2, ["m"]))[8:]
        == b"\x04\0\0\0\x01r" + bytes(7) + b"\x02" + b"\0\0\0\x01\0\0\0\x01m"
    )


# --------------------------------------------------------------------------- bounds


def test_a_large_frame_before_the_proof_is_refused_by_its_length() -> None:
    length = (0xFFFFFFFF).to_bytes(4, "big") + bytes(4)
    with pytest.raises(WireError, match="the limit is"):
        door().feed(length)
    with pytest.raises(WireError, match="the limit is"):
        caller().feed(length)


def test_a_flood_behind_the_hello_is_bounded() -> None:
    here, there = caller(), door()
    there.feed(here.feed(there.opening()))
    with pytest.raises(WireError, match="before the handshake is over"):
        for _ in range(64):
            there.feed(bytes(64 << 10))


def test_a_peers_words_are_safe_to_show() -> None:
    with pytest.raises(HandshakeError) as caught:
        caller(None).feed(encode(Reject("busy: \x1b[2J\n" + "x" * 5000)))
    assert caught.value.reason.isprintable() and len(caught.value.reason) < 500


@pytest.mark.parametrize("cut", [1, 7, 8, 20, -1])
def test_a_handshake_that_is_cut_short_proves_nothing(cut: int) -> None:
    here, there = caller(), door()
    there.feed(here.feed(there.opening()))
    here.feed(there.welcome(welcome(), MAX_FRAME)[:cut])
    assert here.welcome is None


@pytest.mark.parametrize("length", [1, NONCE_BYTES - 1])
def test_a_challenge_that_is_too_short_is_not_answered(length: int) -> None:
    here = caller()
    with pytest.raises(HandshakeError, match=f"challenge has {length} bytes") as raised:
        here.feed(encode(Challenge(b"n" * length)))
    assert raised.value.unproven and not here.challenged


def test_frames_that_waited_for_the_welcome_are_given_at_once() -> None:
    """The Hello came in two pieces. The frames after it are complete.
    They must not wait for further bytes.
    """
    here, there = caller(None), door(None)
    out = here.feed(there.opening())
    assert there.feed(out[:10]) is None
    assert there.feed(out[10:]) is not None
    question = encode(TailQuery(7))
    assert there.feed(question) is None
    there.welcome(welcome(), MAX_FRAME)
    assert there.decoder.feed(b"") == [TailQuery(7)]
