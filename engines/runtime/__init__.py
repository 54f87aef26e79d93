"""Runtimes that run a bundle, one a file, each imported when it is opened; `factory.open_engine` chooses."""
