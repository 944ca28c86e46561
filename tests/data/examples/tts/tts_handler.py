"""Text in, a WAV file out, made with settings of the model."""

import io
import struct
import wave

from ts.torch_handler.base_handler import BaseHandler


class SpeakingHandler(BaseHandler):
    def __init__(self):
        super().__init__()
        self.initialized = False

    def initialize(self, ctx):
        settings = ctx.model_yaml_config["handler"]
        self.rate = settings["rate"]
        with open(settings["voice"]) as file:  # in the model's folder, which is the current one
            self.voice = [int(word) for word in file.read().split()]
        self.initialized = True

    def preprocess(self, requests):
        assert len(requests) == 1, "one text at a time"
        text = requests[0].get("data") or requests[0].get("body")
        return text.decode("utf-8") if isinstance(text, (bytes, bytearray)) else text["text"]

    def inference(self, text):
        return [self.voice[ord(letter) % len(self.voice)] for letter in text for _ in range(8)]

    def postprocess(self, samples):
        file = io.BytesIO()
        with wave.open(file, "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(self.rate)
            sound.writeframes(struct.pack(f"<{len(samples)}h", *samples))
        return [file.getvalue()]
