"""One client's session: its states, what it sends to the engine and what goes back. Knows no dialect and no socket."""
