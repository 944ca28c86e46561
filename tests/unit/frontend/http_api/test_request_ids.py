from __future__ import annotations

import uuid

from tsl.frontend.http_api.request_ids import new_request_id


def test_ids_are_random_uuids_in_the_usual_form():
    """More than a block of them, so that the pool is filled again."""
    ids = [new_request_id() for _ in range(3000)]

    assert len(set(ids)) == 3000
    for text in ids:
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert (parsed.version, parsed.variant) == (4, uuid.RFC_4122)
