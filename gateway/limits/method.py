"""The methods that requests can have when they reach the rules."""

METHODS = frozenset({
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY",
    "ACL", "BIND", "COPY", "LINK", "LOCK", "MKCOL", "MOVE", "PROPFIND", "PROPPATCH", "REBIND", "SEARCH", "UNBIND",
    "UNLINK", "UNLOCK",  # WebDAV and its extensions
    "CHECKOUT", "MERGE", "MKACTIVITY", "MKCALENDAR", "REPORT",  # versions and calendars (RFC 3253, RFC 4791)
    "M-SEARCH", "NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE", "PURGE",  # UPnP and caches
})  # fmt: skip
"""What the parser takes and the proxy forwards. Any other is answered with 400 or 405, whatever the rules say."""
