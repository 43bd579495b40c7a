"""Who may have each route's answer. A route that does not say is the operator's: what is forgotten stays closed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, TypeVar

from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from server.errors import PathNotFound

_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])


class Access(Enum):
    """Whose requests a route answers."""

    OPERATOR = "operator"  # who shows the operator's token
    CALLER = "caller"  # who may call: with the operator's token or a call token, or anybody where calls are public
    PAGE = "page"  # anybody: static files, which are no secret
    PROBE = "probe"  # anybody, under any host name: the health checks of load balancers


def requires(access: Access, cost: int = 1) -> Callable[[_Endpoint], _Endpoint]:
    """Declare whose requests an endpoint answers, and how many ordinary requests one of them costs."""

    def declare(endpoint: _Endpoint) -> _Endpoint:
        endpoint.access, endpoint.cost = access, cost  # type: ignore[attr-defined]
        return endpoint

    return declare


def access_of(route: BaseRoute) -> Access:
    return getattr(_declared(route), "access", Access.OPERATOR)


def cost_of(route: BaseRoute) -> int:
    return getattr(_declared(route), "cost", 1)


def find_route(routes: Sequence[BaseRoute], scope: Scope) -> BaseRoute:
    """The route that will answer, found as Starlette's router finds it. Raises PathNotFound."""
    partial = None
    for route in routes:
        match, _ = route.matches(scope)
        if match is Match.FULL:
            return route
        if match is Match.PARTIAL and partial is None:
            partial = route  # the path without the method: it answers 405
    if partial is None:
        raise PathNotFound(_missing(routes, scope["type"]))
    return partial


def _declared(route: BaseRoute) -> object:
    return getattr(route, "endpoint", route)


def _missing(routes: Sequence[BaseRoute], kind: str) -> str:
    paths = {str(path) for route in routes if (path := getattr(route, "path", "")) and "{" not in path}
    sockets = {str(getattr(route, "path", "")) for route in routes if not hasattr(route, "methods")} & paths
    if kind == "websocket":
        return f"There is no WebSocket at this path. WebSockets of this server: {', '.join(sorted(sockets))}."
    return f"There is nothing at this path. This server has {', '.join(sorted(paths | {'/'}))}."
