"""`python -m device` is `leukoscope`."""

from device.cli import main

main()
