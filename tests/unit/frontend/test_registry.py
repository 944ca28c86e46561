"""Names, versions, defaults."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tsl.frontend.registry import ModelRegistry, ServedModel
from tsl.protocol.errors import Conflict, Forbidden, ModelNotFound, VersionNotFound


def served(name, version):
    return ServedModel(SimpleNamespace(name=name, version=version), None, 0.0)


@pytest.fixture
def registry():
    """Model ``a`` with versions 1 (the default), 2 and 3; model ``b`` with version 1."""
    registry = ModelRegistry()
    for name, version in (("b", "1"), ("a", "1"), ("a", "2"), ("a", "3")):
        registry.add(served(name, version))
    return registry


def versions(found):
    return [(item.version.name, item.version.version) for item in found]


def test_the_first_version_is_the_default(registry):
    assert registry.get("a").version.version == "1"


def test_a_version_is_found_by_its_text(registry):
    assert registry.get("a", "2").version.version == "2"


@pytest.mark.parametrize("version", ["", "1"])
def test_an_unknown_name_is_not_found(registry, version):
    with pytest.raises(ModelNotFound, match="Model not found: x"):
        registry.get("x", version)


@pytest.mark.parametrize("version", ["9", "1.0", "01", " 1"])
def test_an_unknown_version_is_not_found(registry, version):
    with pytest.raises(VersionNotFound, match=f"Model version: {version} does not exist"):
        registry.get("a", version)


def test_versions_come_in_order_of_registration(registry):
    assert versions(registry.versions("a")) == [("a", "1"), ("a", "2"), ("a", "3")]
    with pytest.raises(ModelNotFound):
        registry.versions("x")


def test_defaults_come_by_name(registry):
    assert versions(registry.defaults()) == [("a", "1"), ("b", "1")]


def test_iteration_gives_every_version(registry):
    assert versions(registry) == [("b", "1"), ("a", "1"), ("a", "2"), ("a", "3")]


def test_membership(registry):
    assert ("a", "2") in registry
    assert ("a", "9") not in registry
    assert ("x", "1") not in registry


def test_a_version_cannot_be_added_twice(registry):
    before = registry.get("a", "2")

    with pytest.raises(Conflict, match="2 is already registered for model a"):
        registry.add(served("a", "2"))

    assert registry.get("a", "2") is before


def test_the_default_cannot_be_removed_while_others_exist(registry):
    for version in ("", "1"):
        with pytest.raises(Forbidden, match="Cannot remove default version") as caught:
            registry.remove("a", version)
        assert "default first" in caught.value.hint
    assert len(registry.versions("a")) == 3


def test_other_versions_can_be_removed(registry):
    assert registry.remove("a", "2").version.version == "2"

    assert versions(registry.versions("a")) == [("a", "1"), ("a", "3")]


def test_a_version_that_failed_is_discarded_even_if_it_is_the_default(registry):
    failed = registry.get("a", "1")

    registry.discard(failed)
    registry.discard(failed)

    assert versions(registry.versions("a")) == [("a", "2"), ("a", "3")]
    assert registry.get("a").version.version == "2"


def test_discarding_leaves_the_default_and_others_of_the_same_name_alone(registry):
    registry.discard(registry.get("a", "2"))
    registry.discard(served("a", "3"))
    registry.discard(served("x", "1"))

    assert versions(registry.versions("a")) == [("a", "1"), ("a", "3")]
    assert registry.get("a").version.version == "1"


def test_discarding_the_only_version_takes_the_name_with_it(registry):
    registry.discard(registry.get("b"))

    assert ("b", "1") not in registry
    with pytest.raises(ModelNotFound):
        registry.versions("b")


def test_the_last_version_takes_the_name_with_it(registry):
    registry.remove("b")

    with pytest.raises(ModelNotFound):
        registry.get("b")
    registry.add(served("b", "7"))
    assert registry.get("b").version.version == "7"


@pytest.mark.parametrize(("name", "error"), [("x", ModelNotFound), ("a", VersionNotFound)])
def test_what_does_not_exist_cannot_be_removed_or_made_the_default(registry, name, error):
    with pytest.raises(error):
        registry.remove(name, "9")
    with pytest.raises(error):
        registry.set_default(name, "9")
    assert registry.get("a").version.version == "1"


def test_another_version_becomes_the_default(registry):
    registry.set_default("a", "3")

    assert registry.get("a").version.version == "3"
    assert registry.remove("a", "1")
    with pytest.raises(Forbidden):
        registry.remove("a", "3")
