"""What goes wrong with a local cluster."""


class UpError(Exception):
    """The local cluster does not work; the message says in one line why."""
