"""What keeps a node from starting or makes it stop."""


class StartError(Exception):
    """The node refuses to start; the message says in one line why, and what to do."""


class NodeFailedError(Exception):
    """The node had to stop; nothing that was acknowledged is lost."""
