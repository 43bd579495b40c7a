"""The HTTP application: routes, the page, `/metrics`."""
