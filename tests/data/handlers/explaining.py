"""Says whether it was asked for a prediction or for an explanation."""


def handle(data, context):
    if data is None:  # the call at load time
        return None
    asked = context.get_request_header(0, "explain") == "True"
    kind = "explanation" if asked else "prediction"
    return [{"kind": kind, "of": _value(row)} for row in data]


def _value(row):
    body = row.get("body") if row.get("body") is not None else row.get("data")
    return bytes(body).decode() if isinstance(body, (bytes, bytearray)) else body
