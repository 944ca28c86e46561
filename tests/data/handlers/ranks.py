"""Ranks of a group, without torch: tells what each is, and does what it is asked for.

Every rank writes a line to the file that the settings name for each call; only rank 0 answers.
A request is words: ``raise 1`` raises in rank 1, ``exit 1`` ends it, ``hang 1`` makes it hang.
"""

import json
import os
import time
from pathlib import Path

NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
         "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "TORCHELASTIC_RUN_ID")  # fmt: skip
RANK = os.environ.get("LOCAL_RANK", "-")


class Ranks:
    def initialize(self, context):
        self.settings = context.model_yaml_config["ranks"]
        self.note(f"load {os.getpid()} {context.system_properties['gpu_id']}")
        if self.settings.get("cannot_load") == RANK:
            raise RuntimeError("this rank cannot load")

    def handle(self, data, context):
        verb, _, rank = bytes(data[0]["body"]).decode().partition(" ")
        self.note(verb)
        if rank == RANK and verb == "raise":
            raise ValueError("as asked")
        if rank == RANK and verb == "exit":
            os._exit(7)
        if rank == RANK and verb == "hang":
            time.sleep(3600)
        environ = {name: os.environ[name] for name in NAMES if name in os.environ}
        return [json.dumps({"pid": os.getpid(), **environ})] * len(data)

    def note(self, text):
        with Path(self.settings["notes"]).open("a") as file:
            file.write(f"{RANK} {text}\n")
