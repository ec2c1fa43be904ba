"""L7: the process that renews the lease while the primary's event loop is inside one long command.

Decides: nothing; names the parts. `board` is the memory it shares with the primary, `renewer`
decides when to renew, `node_link` connects to a log node, `process` is the main loop.
`txlog.client.lease_keeper` starts it.
Must not know: the proposer, entries, commands.

It is a process and not a thread: compiled code and one long C call hold the interpreter's lock, so
a thread would not run. The package imports little, because it costs memory on each engine node.
"""
