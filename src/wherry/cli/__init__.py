"""The ``wherry`` command, one file a subcommand."""
