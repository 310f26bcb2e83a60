"""Flo: key-value, queues and streams. The client side: what an application imports."""
