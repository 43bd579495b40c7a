"""Calls from the request to their end: connection, admission, queue, resumption, and the service around the engine."""
