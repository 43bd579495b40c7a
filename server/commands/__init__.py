"""The subcommands of `parley`, a file each."""
