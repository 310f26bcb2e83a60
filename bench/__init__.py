"""Benchmarks: what a cluster does on this machine, with the cost of doing it."""
