"""Makes the Debian package: the appliance with every library it needs, installed without a network."""
