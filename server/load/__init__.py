"""`parley load`: many callers at once, each at the pace of real speech, and what they would have noticed.

Speaks Kyutai's `/api/chat`, so it measures any server of that protocol. Imports nothing of the server but the wire
and the codec; knows no engine and no model.
"""

from server.load.arguments import add_arguments
from server.load.command import run

__all__ = ["add_arguments", "run"]
