"""Where random tests begin: at the same number in CI, at a new one elsewhere.

What lands must not depend on luck; what is run while working should find something new. A failure
prints the number that made its example.
"""

from __future__ import annotations

import os
import random


def first_number():
    """Number of the first random example; ``TSL_FUZZ_SEED`` chooses one."""
    given = os.environ.get("TSL_FUZZ_SEED")
    if given is not None:
        return int(given)
    return 0 if os.environ.get("CI") else random.randrange(2**32)
