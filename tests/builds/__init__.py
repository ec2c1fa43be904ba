"""Both builds side by side: the compiled modules in the test's own process,
the source in a child process.
"""
