"""The name of this machine, for metrics and their log lines."""

from __future__ import annotations

import socket
from typing import Final

HOSTNAME: Final = socket.gethostname()
