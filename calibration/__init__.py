"""What ties an engine to one microscope. Knows nothing of the daemon."""
