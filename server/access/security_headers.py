"""The security headers of every response: what the page may load and do, and who may embed it."""

from __future__ import annotations

from collections.abc import Iterable

# Scripts of this origin only; WebAssembly for the worker's fallback codec; nothing from elsewhere.
_CONTENT_SECURITY_POLICY = {
    "default-src": "'none'",
    "script-src": "'self' 'wasm-unsafe-eval'",
    "style-src": "'self'",
    "font-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "worker-src": "'self'",
    "manifest-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
}


def security_headers(framed_by: Iterable[str]) -> list[tuple[bytes, bytes]]:
    """Header names and values. `framed_by`: origins that may embed the page."""
    policy = {**_CONTENT_SECURITY_POLICY, "frame-ancestors": " ".join(["'self'", *framed_by])}
    headers = {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]
