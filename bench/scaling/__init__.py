"""How throughput, latency, memory and CPU time change with the size of things."""
