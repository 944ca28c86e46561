"""Takes arrays by name and returns them, and says what they are.

Of an input ``repeat`` only as many pieces as it says are streamed, then the rest is answered.
"""

from ts.handler_utils.utils import send_intermediate_predict_response


def handle(data, context):
    if data is None:
        return None
    if "raise" in data[0]:
        raise RuntimeError("asked for")
    if "repeat" in data[0]:
        for number in range(int(data[0]["repeat"].item())):
            piece = [{"number": number, "text": f"piece {number}"} for _ in data]
            send_intermediate_predict_response(piece, context.request_ids, "", 200, context)
        return [{} for _ in data]
    answers = []
    for row, parameters in zip(data, context.input_parameters, strict=True):
        answer = dict(row)
        if parameters.get("describe"):
            answer["about"] = [f"{name} {each.dtype} {each.shape}" for name, each in row.items()]
        answers.append(answer)
    return answers
