"""How memstore is built: the hot modules become machine code by mypyc and the C compiler (see
docs/building.md). Not installed.
"""
