"""The settings of the daemon: their model, their file, and words for what is wrong in it."""
