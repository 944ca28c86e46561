"""Streams ``n`` texts in the manner of TorchServe's handlers of language models."""

from ts.handler_utils.utils import send_intermediate_predict_response


def handle(data, context):
    if data is None:  # the call at load time
        return None
    body = data[0]["body"]
    for number in range(body["n"]):
        piece = [f"{body['prompt']} {number}"]
        send_intermediate_predict_response(piece, context.request_ids, "", 200, context)
    return [{"text": "done", "row": body}]
