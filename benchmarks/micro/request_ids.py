"""What does a request id cost?"""

from __future__ import annotations

import uuid

from tsl.frontend.http_api.request_ids import new_request_id

from .timing import print_times


def main() -> None:
    """Print the times per id."""
    print_times(
        "one request id",
        {"str(uuid.uuid4())": lambda: str(uuid.uuid4()), "new_request_id()": new_request_id},
    )


if __name__ == "__main__":
    main()
