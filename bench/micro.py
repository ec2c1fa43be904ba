"""Micro-benchmarks of single machines."""


def main(argv):
    return 0
