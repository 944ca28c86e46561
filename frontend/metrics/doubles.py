"""Numbers as TorchServe writes them, which is how Java writes a double.

Whoever greps for ``17.0`` or ``1.0E7`` must find it; Prometheus reads both forms.
"""

from __future__ import annotations

import math
from decimal import Decimal


def double_text(value: float) -> str:
    """A number in Java's notation; infinities and NaN as Prometheus wants them."""
    value = float(value)
    if 1e-3 <= abs(value) < 1e7 or not value:
        return repr(value)
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    assert isinstance(exponent, int)
    written = "".join(map(str, digits)).rstrip("0")
    return f"{'-' * sign}{written[0]}.{written[1:] or '0'}E{len(digits) + exponent - 1}"
