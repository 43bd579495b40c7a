"""Access control: tokens, host names, origins, limits by client, security headers.

`AccessPolicy` (policy.py) decides; `AccessMiddleware` (middleware.py) asks it about every request before the
application sees it. Nothing here knows a dialect, a session or the engine.
"""
