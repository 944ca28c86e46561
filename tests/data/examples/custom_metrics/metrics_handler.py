"""Every kind of metric, declared in `initialize` or on first use."""

import time

from torchvision import transforms

from ts.metrics.dimension import Dimension
from ts.metrics.metric_type_enum import MetricTypes
from ts.torch_handler.image_classifier import ImageClassifier


class MetricsClassifier(ImageClassifier):
    image_processing = transforms.Compose([transforms.ToTensor()])

    def initialize(self, context):
        super().initialize(context)
        metrics = context.metrics
        self.loads = metrics.add_metric_to_cache(
            metric_name="Loads",
            unit="count",
            dimension_names=["ModelName", "host"],
            metric_type=MetricTypes.COUNTER,
        )
        self.loads.add_or_update(1, [context.model_name, "here"])

    def preprocess(self, data):
        metrics = self.context.metrics
        started = time.time()
        pictures = super().preprocess(data)
        metrics.add_time("PreprocessTime", (time.time() - started) * 1000, None, "ms")
        metrics.add_size("PictureSize", pictures.nelement() * 4, None, "kB")
        metrics.add_counter("Pictures", len(data), None, [Dimension("source", "client")])
        metrics.add_percent("Filled", 50)
        metrics.add_metric(
            "Brightness", float(pictures.mean()), "unit", None, [], MetricTypes.HISTOGRAM
        )
        metrics.add_error("Odd", 0)
        return pictures

    def postprocess(self, data):
        self.loads.add_or_update(1, [self.context.model_name, "here"])
        again = self.context.metrics.get_metric("Loads", MetricTypes.COUNTER)
        assert again is self.loads
        return data.argmax(1).tolist()
