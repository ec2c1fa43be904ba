"""SORT and SORT_RO, alone and beside redis-server."""
