"""From data to engine: the network, its training, its bundle and the runtimes that run it. Nothing here knows the daemon."""
