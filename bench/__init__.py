"""How fast, beside redis-server, on this machine, in one run. Nothing here is asserted."""
