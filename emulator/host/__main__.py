"""`python -m emulator.host`: one process, one app."""

from emulator.host.app import main

main()
