"""Measures speed against redis-server, on this machine, in one run. Nothing here is asserted."""
