"""The language that front end, nursery and workers speak: frames, their codec, and errors."""

from .channel import Channel, ChannelState, Side
from .codec import FrameDecoder, encode
from .errors import ConfigError, ProtocolError, TslError

__all__ = [
    "Channel",
    "ChannelState",
    "ConfigError",
    "FrameDecoder",
    "ProtocolError",
    "Side",
    "TslError",
    "encode",
]
