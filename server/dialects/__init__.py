"""Wire protocols, sans I/O: a client's messages in, events out; events in, messages out."""
