"""Sockets, TLS, HTTP and WebSockets on uvicorn, with limits on what a peer may hold or send.

Everything that subclasses uvicorn or opens a socket is here. Knows no dialect, session, engine or access policy.
"""
