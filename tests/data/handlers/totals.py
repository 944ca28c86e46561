"""Adds up the numbers of each sequence: arrays ``x``, or bodies with a number in them."""

TOTALS = {}


def handle(data, context):
    if data is None:  # the call at load time
        return None
    answers = []
    for index, row in enumerate(data):
        name = context.get_sequence_id(index)
        if context.get_request_header(index, context.header_key_sequence_start) == "true":
            TOTALS.pop(name, None)
        TOTALS[name] = TOTALS.get(name, 0) + (row["x"] if "x" in row else int(row["body"]))
        is_array = "x" in row
        answers.append({"total": TOTALS[name], "id": [name]} if is_array else str(TOTALS[name]))
    return answers
