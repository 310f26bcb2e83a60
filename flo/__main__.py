"""`python -m flo`: the same as `flo`."""

from flo.cli import main

main(prog_name="flo")
