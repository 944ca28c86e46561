"""Overrides `handle`: sentences with instructions become vectors."""

import logging

from InstructorEmbedding import Instructor

from ts.torch_handler.base_handler import BaseHandler

logger = logging.getLogger(__name__)


class InstructorHandler(BaseHandler):
    def __init__(self):
        super().__init__()
        self.initialized = False

    def initialize(self, context):
        properties = context.system_properties
        logger.info("initialize in %s", properties.get("model_dir"))
        self.model = Instructor(properties.get("model_dir"))
        self.model.to("cpu")
        self.initialized = True

    def handle(self, data, context):
        inputs = data[0].get("body").get("inputs")
        if isinstance(inputs[0], str):
            inputs = [inputs]
        return [self.model.encode(inputs).tolist()]
