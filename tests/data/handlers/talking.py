"""Takes arrays: streams ``text_input`` in words, ranks ``scores``, sleeps ``sleep_ms``.

Parameters: ``whole`` for one answer, ``fail_after`` for an error behind so many words.
"""

import time

from ts.handler_utils.utils import send_intermediate_predict_response


def handle(data, context):
    if data is None:  # the call at load time
        return None
    assert len(data) == 1
    row, parameters = data[0], context.input_parameters[0]
    if "sleep_ms" in row:
        time.sleep(row["sleep_ms"].item() / 1000)
    if "text_input" not in row:
        return [dict(row)]
    text = row["text_input"].item().decode()
    if parameters.get("whole"):
        about = {name: array for name, array in row.items() if name != "text_input"}
        return [{"text_output": f"{text}!", "length": [len(text)], **about}]
    for number, word in enumerate(text.split()):
        if number == parameters.get("fail_after"):
            raise RuntimeError("asked for")
        answer = [{"text_output": f"{word} ", "number": number}]
        send_intermediate_predict_response(answer, context.request_ids, "", 200, context)
    return [{}]
