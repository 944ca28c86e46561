"""Takes long to load: as many seconds as `model-config.yaml` says under ``load``.

Answers what it says under ``mark``, or "loaded".
"""

import time
from pathlib import Path


class Handler:
    def initialize(self, context):
        Path("loading").touch()
        self.mark = context.model_yaml_config.get("mark", "loaded")
        time.sleep(context.model_yaml_config["load"])

    def handle(self, data, context):
        return [self.mark] * len(data)
