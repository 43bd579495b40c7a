"""The HTTP application: routes, the web page and `/metrics`."""
