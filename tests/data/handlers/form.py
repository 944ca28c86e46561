"""Tells what the fields of a form look like: the plain way, and with `getlist`."""


def _text(value):
    return bytes(value).decode() if isinstance(value, (bytes, bytearray)) else str(value)


def handle(data, context):
    if data is None:  # the call at load time
        return None
    return [
        {
            "last": {name: _text(row[name]) for name in row},
            "all": {name: [_text(value) for value in row.getlist(name)] for name in row},
        }
        for row in data
    ]
