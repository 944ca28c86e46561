import pytest

from tsl.model_store.allow_list import AllowList, is_metadata_address, is_url
from tsl.protocol.errors import ConfigError, UrlNotAllowed

NAMED = "http://models\\.corp/good/.*, https://other\\.corp/.*"


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        ("file://.*|http(s)?://.*", "http://127.0.0.1:80/x.mar"),
        ("file://.*|http(s)?://.*", "FILE:///x.mar"),
        (NAMED, "http://models.corp/good/x.mar"),
        (NAMED, "HTTP://Models.Corp/good/x.mar"),
        (NAMED, "https://other.corp/x.mar?key=1"),
    ],
)
def test_matching_urls_pass(allowed, url):
    AllowList(allowed).check(url)


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        pytest.param(NAMED, "http://models.corp/bad/x.mar", id="other path"),
        pytest.param(NAMED, "http://modelsXcorp/good/x.mar", id="dot is a dot"),
        pytest.param(NAMED, "http://evil/?http://models.corp/good/x.mar", id="match in the middle"),
        pytest.param(NAMED, "https://models.corp/good/x.mar", id="other scheme"),
        pytest.param(NAMED, "http://models.corp/good/../bad/x.mar", id="dots"),
        pytest.param(NAMED, "http://models.corp/good/%2e%2E/bad/x.mar", id="encoded dots"),
        pytest.param("file://.*|http(s)?://.*", "s3://bucket/x.mar", id="scheme not listed"),
        pytest.param("", "http://models.corp/x.mar", id="empty list"),
    ],
)
def test_other_urls_are_refused(allowed, url):
    with pytest.raises(UrlNotAllowed):
        AllowList(allowed).check(url)


def test_an_invalid_expression_stops_the_server():
    with pytest.raises(ConfigError, match="allowed_urls"):
        AllowList("http://good/.*,(")


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        pytest.param("file://.*|http(s)?://.*", False, id="default list"),
        pytest.param(".*", False, id="everything"),
        pytest.param("http://.*", False, id="any host"),
        pytest.param("http://169\\.254\\.0\\.1/.*", True, id="this host"),
        pytest.param(".*,http://169\\..*", True, id="this host beside any"),
        pytest.param("http://other/.*", False, id="another host"),
    ],
)
def test_a_host_is_named_by_an_expression_for_it(allowed, expected):
    assert AllowList(allowed).names_host("http://169.254.0.1/x.mar") is expected


@pytest.mark.parametrize("location", ["http://h/x", "FILE:///x", "s3://b/x", "a+b-c.1://x"])
def test_anything_with_a_scheme_is_a_url(location):
    assert is_url(location)


@pytest.mark.parametrize("location", ["x.mar", "/a/x.mar", "a:/x", "n=http://h/x", "://x", ""])
def test_other_locations_are_files(location):
    assert not is_url(location)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:169.254.169.254",
        "100.100.100.200",
        "fd00:ec2::254",
    ],
)
def test_addresses_where_no_models_are(host):
    assert is_metadata_address(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "::1", "8.8.8.8", "localhost", ""])
def test_addresses_where_models_may_be(host):
    assert not is_metadata_address(host)
