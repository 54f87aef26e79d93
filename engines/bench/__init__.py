"""What an engine costs on this machine, beside the bare runtime and others' programs (`attridet bench`). Speed only."""
