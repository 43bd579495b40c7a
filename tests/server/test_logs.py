from __future__ import annotations

import logging
import subprocess
import sys


def test_fields_follow_the_message_as_key_and_value():
    code = (
        "import logging; from server.logs import set_up_logging; set_up_logging(logging.INFO);"
        "logging.getLogger('server.x').info('call ended', extra={'call': 'ab12', 'why': 'two words', 'none': ''});"
        "logging.getLogger('server.x').debug('unheard');"
        "logging.getLogger('uvicorn.error').error('ASGI callable returned without completing handshake.')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    [line] = done.stderr.splitlines()
    assert line.endswith("INFO server.x: call ended call=ab12 why='two words' none=''")


def test_importing_the_server_sets_up_no_logging():
    assert not logging.getLogger("server").handlers
