"""Takes long to load: as many seconds as `model-config.yaml` says under ``load``."""

import time
from pathlib import Path


class Handler:
    def initialize(self, context):
        Path("loading").touch()
        time.sleep(context.model_yaml_config["load"])

    def handle(self, data, context):
        return ["loaded"] * len(data)
