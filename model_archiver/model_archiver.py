"""The class that scripts pack models with."""

from .model_archiver_config import ModelArchiverConfig
from .model_packaging import generate_model_archive


class ModelArchiver:
    """Packs models."""

    @staticmethod
    def generate_model_archive(config: ModelArchiverConfig) -> None:
        """Pack a model.

        Args:
            config: what to pack.

        Raises:
            ModelArchiverError: it cannot be packed.
        """
        generate_model_archive(config)
