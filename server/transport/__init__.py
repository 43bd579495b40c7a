"""Sockets, TLS, HTTP and WebSocket as uvicorn serves them, with bounds on what a peer may hold or send.

Everything that subclasses uvicorn or opens a socket is here. Nothing here knows a dialect, a session or the engine.
"""
