"""``python -m setpoint``: the command line, without the script."""

from setpoint.cli.main import main

main()
