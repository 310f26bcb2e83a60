"""The version, in one place: the package, the wire handshake and the CLI read it here."""

__version__ = "0.1.0"
