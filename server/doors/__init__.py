"""Who gets in: tokens, names, origins, addresses, sockets, headers, TLS.

One `Doors` (doors.py) holds the rules; `Door` (door.py) stands before the whole application and asks it for every
request. Nothing here knows a session, the engine or the wire.
"""
