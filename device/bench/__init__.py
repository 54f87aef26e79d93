"""How fast this machine takes a frame the whole way, measured by the appliance's own parts: `leukoscope bench`."""
