"""Gives every request's body back unchanged; the quickest handler there is."""


def handle(data, context):
    if data is None:  # the call at load time
        return None
    return [row.get("body", row.get("data", b"")) for row in data]
