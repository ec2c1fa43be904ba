"""The log's consensus, as state machines without I/O.
docs/log-protocol.md has the rules (A1, L2, W5, S3 ...) that code and tests cite.

Reading order:
- quorum: pure counting;
- lease: windows and leases;
- log: what a disk can report;
- outputs: what a machine asks its driver to do;
- log_state: what a log node knows;
- acceptor with repair and learner: a log node;
- proposer with sender, campaign and progress: the writer.

A driver holds one `Acceptor` for a log and one `Proposer` for a writer. It gives inputs by methods
`on_<event>(..., now_us)`. It takes outputs with `take_outputs()`, in the order in which they must
take effect. It calls `take_outputs` after every batch of inputs. The proposer gathers appends until
then, so one batch of appends is one message per node. `deadline()` says when `on_deadline(now_us)`
is due; 0 means never. Before each batch the driver sets the acceptor's ``room_bytes``.

The acceptor knows the other nodes of its group by their ids; without ids it is a group of one. The
proposer knows log nodes by their index in the client's list.
"""
