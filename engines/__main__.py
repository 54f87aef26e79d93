"""`python -m engines` is `attridet`."""

from engines.cli import main

main()
