"""The subcommands of `parley`, one file each."""
