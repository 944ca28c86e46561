"""Keys, who passes with which, and what is said and counted about those who do not."""

from __future__ import annotations

import logging
import re

import pytest
from fakes import RecordingStats

from tsl.frontend.auth import KEY_BYTES, REPORT_EVERY_S, Authorizer, Permission
from tsl.protocol.errors import Conflict, InvalidTokenRequest, Unauthorized, WrongKey

INFERENCE, MANAGEMENT, RENEWAL = Permission
NAMES = tuple(map(str, Permission))
CHOSEN = "chosen-by-the-operator"


class Stage:
    """An authorizer, its clock and the file it writes."""

    def __init__(self, **fixed):
        self.now = 1_700_000_000.0
        self.correction = 0.0
        self.saved = []
        self.disk_is_full = False
        self.stats = RecordingStats()
        self.authorizer = Authorizer(
            lifetime_s=60.0,
            fixed={Permission(name): key for name, key in fixed.items()},
            save=self._save,
            stats=self.stats,
            now=lambda: self.now + self.correction,
            elapsed=lambda: self.now,
        )
        self.is_stored = self.authorizer.publish()

    def _save(self, document):
        if self.disk_is_full:
            raise OSError(28, "No space left on device")
        self.saved.append(document)

    def key(self, permission):
        return self.saved[-1][permission]["key"]

    def header(self, permission, scheme="Bearer "):
        return f"{scheme}{self.key(permission)}".encode()

    def check(self, authorization, permission=INFERENCE, client=b"/192.0.2.1:40000"):
        self.authorizer.check(authorization, permission, client)


@pytest.fixture
def stage():
    return Stage()


def test_the_right_key_opens(stage):
    for permission in Permission:
        stage.check(stage.header(permission), permission)

    assert not stage.stats.refused_callers


@pytest.mark.parametrize("shown", NAMES)
@pytest.mark.parametrize("needed", NAMES)
def test_a_key_opens_nothing_else(stage, shown, needed):
    if shown == needed:
        stage.check(stage.header(shown), Permission(needed))
        return
    with pytest.raises(WrongKey) as caught:
        stage.check(stage.header(shown), Permission(needed))

    assert (caught.value.status(), caught.value.status(standard=True)) == (400, 403)
    assert stage.stats.refused_callers == {(needed, "wrong key"): 1}


@pytest.mark.parametrize("scheme", ["bearer ", "BEARER ", "Bearer  ", "Bearer\t"])
def test_the_scheme_is_taken_in_any_case_as_http_has_it(stage, scheme):
    stage.check(stage.header("inference", scheme))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(lambda _: b"", "missing", id="nothing"),
        pytest.param(lambda key: key, "malformed", id="no scheme"),
        pytest.param(lambda key: b"Basic " + key, "malformed", id="another scheme"),
        pytest.param(lambda _: b"Bearer ", "malformed", id="no key"),
        pytest.param(lambda key: b"Bearer " + key + b" x", "malformed", id="two words"),
        pytest.param(
            lambda key: b"Bearer " + key + b", Bearer " + key, "malformed", id="two headers"
        ),
        pytest.param(lambda _: b"Bearer wrong", "unknown", id="wrong key"),
        pytest.param(lambda key: b"Bearer " + key[:-1], "unknown", id="shorter"),
        pytest.param(lambda key: b"Bearer " + key + b"x", "unknown", id="longer"),
        pytest.param(lambda _: b"Bearer \xff\xfe", "unknown", id="not ascii"),
    ],
)
def test_anything_else_is_refused_and_counted(stage, make, reason):
    with pytest.raises(Unauthorized) as caught:
        stage.check(make(stage.key("inference").encode()))

    assert (caught.value.status(), caught.value.status(standard=True)) == (400, 401)
    assert caught.value.type_name == "InvalidKeyException"
    assert stage.stats.refused_callers == {("inference", reason): 1}


def test_keys_expire_but_not_the_one_that_renews(stage):
    stage.now += 59.9
    stage.check(stage.header("inference"))

    stage.now += 0.1
    for permission in (INFERENCE, MANAGEMENT):
        with pytest.raises(Unauthorized, match="expired"):
            stage.check(stage.header(permission), permission)
    stage.check(stage.header("API"), RENEWAL)
    assert stage.stats.refused_callers["inference", "expired"] == 1


def test_the_answer_to_an_expired_key_says_what_to_do(stage):
    stage.now += 61

    with pytest.raises(Unauthorized) as caught:
        stage.check(stage.header("inference"))

    assert "/token?type=inference" in caught.value.hint


def test_the_document_is_torchserves(stage):
    (document,) = stage.saved

    assert list(document) == ["management", "inference", "API"]
    assert document["inference"]["expiration time"] == "2023-11-14T22:14:20Z"
    assert list(document["API"]) == ["key"]


def test_keys_are_long_and_all_different():
    keys = [Stage().key(permission) for permission in Permission for _ in range(20)]

    assert KEY_BYTES * 8 >= 128
    assert all(re.fullmatch(r"[\w-]{32}", key) for key in keys)
    assert len(set(keys)) == len(keys)


# -- renewing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("permission", [INFERENCE, MANAGEMENT])
def test_a_renewed_key_takes_the_place_of_the_old_one(stage, permission):
    others = set(Permission) - {permission}
    before = {each: stage.header(each) for each in Permission}
    stage.now += 30

    renewed = stage.authorizer.renew(permission)

    assert renewed == stage.saved[-1][permission]
    stage.check(b"Bearer " + renewed["key"].encode(), permission)
    with pytest.raises(Unauthorized):
        stage.check(before[permission], permission)
    for other in others:
        stage.check(before[other], other)
    stage.now += 59
    stage.check(stage.header(permission), permission)


@pytest.mark.parametrize("name", ["", "root", "API", "Inference", "inference "])
def test_only_two_keys_can_be_renewed(stage, name):
    with pytest.raises(InvalidTokenRequest, match="type") as caught:
        stage.authorizer.renew(name)

    assert caught.value.type_name == "InvalidKeyException"
    assert len(stage.saved) == 1


def test_a_key_that_cannot_be_stored_is_not_used(stage):
    before = stage.header("inference")
    stage.disk_is_full = True

    with pytest.raises(OSError, match="No space"):
        stage.authorizer.renew("inference")

    stage.check(before)


# -- fixed keys ---------------------------------------------------------------------------------------


def test_a_fixed_key_stays_and_is_not_stored():
    stage = Stage(inference=CHOSEN)

    assert set(stage.saved[0]) == {"management", "API"}
    stage.now += 10**9
    stage.check(f"Bearer {CHOSEN}".encode())
    with pytest.raises(Conflict, match="fixed"):
        stage.authorizer.renew("inference")
    assert "key" in stage.authorizer.renew("management")


def test_with_both_keys_fixed_nothing_is_stored():
    stage = Stage(inference=CHOSEN, management=CHOSEN + "2")

    assert not stage.is_stored
    assert stage.saved == []


def test_keys_that_cannot_be_stored_are_a_reason_not_to_start(stage):
    stage.disk_is_full = True

    with pytest.raises(OSError, match="No space"):
        stage.authorizer.publish()


# -- one of several ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "passes"), [("inference", True), ("management", True), ("API", False)]
)
def test_one_of_several_keys_is_enough(stage, shown, passes):
    shown_header = stage.header(shown)
    both = (INFERENCE, MANAGEMENT)

    if passes:
        stage.authorizer.check_any(shown_header, both)
    else:
        with pytest.raises(WrongKey):
            stage.authorizer.check_any(shown_header, both)
    assert sum(stage.stats.refused_callers.values()) == (not passes)


# -- secrecy ------------------------------------------------------------------------------------------


def test_neither_answers_nor_the_log_repeat_what_was_shown(stage, caplog):
    keys = [stage.key(permission) for permission in Permission]
    shown = [f"Bearer {key}".encode() for key in keys] + [
        b"Basic hunter2hunter2",
        b"Bearer hunter2",
    ]
    stage.now += 61
    texts = []

    for each in shown:
        stage.now += 2 * REPORT_EVERY_S
        with pytest.raises(Unauthorized) as caught:
            stage.check(each)
        texts.append(str(caught.value))

    said = caplog.text + "".join(texts)
    assert len(caplog.records) == len(shown)
    assert not any(secret in said for secret in [*keys, "hunter2"])


def test_the_log_names_the_client_and_is_not_filled_by_it(stage, caplog):
    with caplog.at_level(logging.WARNING):
        for _ in range(100):
            with pytest.raises(Unauthorized):
                stage.check(b"")
        stage.now += REPORT_EVERY_S
        with pytest.raises(Unauthorized):
            stage.check(b"", client=b"/198.51.100.7:1")

    assert [record.getMessage() for record in caplog.records] == [
        "Refused /192.0.2.1:40000: the token for inference is missing",
        "Refused /198.51.100.7:1: the token for inference is missing, and 99 before it",
    ]
    assert stage.stats.refused_callers == {("inference", "missing"): 101}


@pytest.mark.parametrize("correction", [86400.0, -86400.0], ids=["forward", "back"])
def test_a_key_lives_as_long_when_the_clock_is_set(stage, correction):
    old = stage.header("inference")

    stage.correction = correction
    stage.now += 59.9
    stage.check(old)
    stage.now += 0.1
    with pytest.raises(Unauthorized, match="expired"):
        stage.check(old)


def test_refused_callers_are_reported_when_the_clock_was_set_back(stage, caplog):
    for _ in range(2):
        with pytest.raises(Unauthorized):
            stage.check(b"")
        stage.correction -= 86400.0
        stage.now += REPORT_EVERY_S

    assert len([r for r in caplog.records if "Refused" in r.getMessage()]) == 2
