"""What keeps a node from starting or makes it stop."""


class StartError(Exception):
    """The node refuses to start; the message says why in its first line, and what to do."""


class NodeFailedError(Exception):
    """The node had to stop; nothing that was acknowledged is lost."""
