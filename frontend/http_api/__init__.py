"""HTTP/1.1 for the three listeners: connections, routes, and one file per API."""
