"""The benches work: small runs of what takes minutes."""
