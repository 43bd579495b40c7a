"""The dialects that the server speaks: one line each."""

from __future__ import annotations

from server.dialects.dialect import Dialect
from server.dialects.kyutai import KyutaiDialect

DIALECTS: tuple[type[Dialect], ...] = (KyutaiDialect,)
