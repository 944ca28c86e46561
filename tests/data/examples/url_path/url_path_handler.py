"""Answers what the front end adds to a request."""


class PathHandler:
    def initialize(self, context):
        self.version = context.manifest["model"]["modelVersion"]

    def handle(self, data, context):
        answers = []
        for index in range(len(data)):
            headers = context.get_all_request_header(index)
            answers.append(
                {
                    "path": headers.get("url_path"),
                    "explain": headers.get("explain"),
                    "mine": context.get_request_header(index, "X-Mine"),
                    "missing": context.get_request_header(index, "X-Missing"),
                    "version": self.version,
                    "server": context.system_properties["server_name"],
                    "batch": context.system_properties["batch_size"],
                    "gpu": context.system_properties["gpu_id"],
                }
            )
        return answers
