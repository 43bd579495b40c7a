"""The Python client of `/api/chat`: its address, its socket and the pace at which speech is sent.

Knows a dialect and audio packets; knows nothing of the server behind them, and keeps no record of a call.
"""
