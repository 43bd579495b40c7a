"""`parley load`: many callers at once, each sending at the pace of real speech, and what they would have noticed.

Speaks Kyutai's `/api/chat`, so it measures any server with that protocol. Imports nothing of the server but the client,
the dialect and the audio codec; knows no engine and no model.
"""

from server.load.arguments import add_arguments
from server.load.command import run

__all__ = ["add_arguments", "run"]
