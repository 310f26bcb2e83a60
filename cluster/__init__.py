"""The Flo server: nodes, partitions, Raft groups, state machines and storage."""
