"""Stream the text that is generated for a batch."""

from tsl.backend.hf_streamer import TextIteratorStreamerBatch

__all__ = ["TextIteratorStreamerBatch"]
