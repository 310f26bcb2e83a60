"""`flo up`: a local cluster as child processes of this one."""
