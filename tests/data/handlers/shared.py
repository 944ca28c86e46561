"""Says who loaded the model and who answers; loading can fail or start a thread on request."""

import os
import threading
from pathlib import Path


class Shared:
    def initialize(self, context):
        config = (context.model_yaml_config or {}).get("test", {})
        self.loaded_by = os.getpid()
        with Path(config["notes"]).open("a") as notes:
            notes.write(f"{os.getpid()}\n")
        if config.get("fail"):
            raise RuntimeError("will not load")
        if config.get("thread"):
            threading.Thread(target=threading.Event().wait, daemon=True).start()

    def handle(self, data, context):
        return [{"loaded_by": self.loaded_by, "pid": os.getpid()} for _ in data]
