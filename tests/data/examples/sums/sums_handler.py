"""Adds up each input of the KServe v2 protocol."""


def total(value):
    return sum(map(total, value)) if isinstance(value, list) else value


class Summing:
    def initialize(self, context):
        self.context = context

    def handle(self, data, context):
        answers = []
        for entry in data:
            if entry["datatype"] == "BYTES":
                answers.append(f"{entry['name']}: {entry['data']}")
            else:
                answers.append(total(entry["data"]))
        return answers
