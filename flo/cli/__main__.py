"""`python -m flo.cli`: the same as `flo`."""

from flo.cli import main

main(prog_name="flo")
