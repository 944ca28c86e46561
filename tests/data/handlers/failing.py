"""Cannot be initialised."""


class Handler:
    def initialize(self, context):
        raise RuntimeError("the weights are not there")

    def handle(self, data, context):
        return ["never"] * len(data)
