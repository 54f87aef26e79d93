"""What each subcommand of `attridet` does, one a file, imported when it is called; `engines.cli` only reads the command line."""
