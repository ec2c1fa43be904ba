"""The log's consensus, as machines without I/O. The protocol's rules have numbers (A1, L2, W5, S3
...); code and tests cite them.

Reading order: quorum (pure counting) · lease (windows and leases) · log (what a disk can tell) ·
outputs (what a machine asks of the world) · acceptor with repair (a log node) · proposer with
campaign and feed (the writer).

How a driver holds an acceptor, one a log::

    Acceptor(recovered, history, peers, rng, now_us)              peers: ids of the other nodes of
    the group; [] is a group of one on_message(peer, message, now_us)   on_persisted(sequence,
    now_us)   on_room(has_room)   on_disconnected(peer) on_put_back(sequence, scan, now_us)
    on_peer_fetched(node, fetched, now_us) take_outputs() -> list[Output]   deadline() -> us, 0 none
    on_deadline(now_us) room_bytes (set before each batch of inputs: what may be taken)
    on_membership(peers, now_us) last last_chain durable committed promise suspicion broken
    window_left_ms(now_us) window_writer living_writer(now_us) successor(now_us)
    readable_upto(start)   status(now_us)

and a proposer, one a writer (``i`` is the index of a log node in the client's list)::

    Proposer(nodes, incarnation, rng, limits) start_campaign(applied_id, applied_chain, lease_ms,
    leadership_payload, wall_ms, now_us)   on_connected(i, now_us)   on_disconnected(i, now_us)
    on_message(i, message, now_us)   append(kind, payload, wall_ms, continued, now_us) -> Entry
    start_handover()   abort_handover() release(successor, now_us)   stop()
    on_renewed_elsewhere(i, term, round, sent_us, now_us)   on_stood_still(us, now_us)
    take_outputs() -> list[ProposerOutput]   deadline() -> us, 0 none   on_deadline(now_us) term
    round lease_ms lease_until_us committed next_position in_flight in_flight_bytes

Outputs are handed over with `take_outputs`, in the order in which they must take effect. A driver
calls it after every batch of inputs; the proposer gathers appends until then, so one batch of
appends is one message a node.
"""
