"""How memstore is built: mypyc and the C compiler make machine code from the hot modules (see
docs/building.md). Not installed.
"""
