"""The log as an engine node sees it: an interface, and a file for each log that implements it.

Decides: nothing.
Must not know: the engine. See `interface` for what a log must do, and `opening` for the choice.
"""
