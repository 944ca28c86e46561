import http.client
import io
import re

import pytest

from tsl.model_store import download
from tsl.model_store.allow_list import AllowList
from tsl.model_store.download import Download, Downloader, DownloadLimits
from tsl.protocol.errors import (
    Conflict,
    DownloadFailed,
    InvalidArchive,
    InvalidParameter,
    ShuttingDown,
    UrlNotAllowed,
)

URL = "http://good/x.mar"


class FakeAnswer:
    """Stands for `HttpSource`."""

    def __init__(self, body=b"", *, status=200, location=None, size="right"):
        self.status = status
        self.redirects_to = location
        self.size_bytes = len(body) if size == "right" else size
        self._body = io.BytesIO(body)
        self.is_closed = False

    def read(self, size):
        return self._body.read(min(size, 4))

    def close(self):
        self.is_closed = True


class FakeWeb:
    """Answers by URL; takes the place of `http_source.request`."""

    def __init__(self):
        self.answers = {}
        self.requests = []
        self.headers = []
        self.bundles = []

    def request(self, url, **options):
        self.requests.append((url, options["is_host_trusted"]))
        self.headers.append(options["headers"])
        self.bundles.append(options["ca_bundle"])
        answer = self.answers[url]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def web(monkeypatch):
    fake = FakeWeb()
    monkeypatch.setattr(download, "request", fake.request)
    return fake


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


def downloader(allowed="https?://good/.*|file://.*", clock=lambda: 0.0, **limits):
    return Downloader(AllowList(allowed), DownloadLimits(**limits), clock=clock)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_archive_is_stored_under_its_last_component(web, store):
    web.answers["http://good/a/x.mar?key=1#top"] = FakeAnswer(b"content")

    result = downloader().fetch("http://good/a/x.mar?key=1#top", store, reuse=False)

    assert result == Download(path=store / "x.mar", is_new=True, is_copy=True)
    assert (store / "x.mar").read_bytes() == b"content"
    assert (store / "x.mar").stat().st_mode & 0o777 == 0o644
    assert names(store) == ["x.mar"]


def test_the_connection_is_closed(web, store):
    web.answers[URL] = FakeAnswer(b"content")

    downloader().fetch(URL, store, reuse=False)

    assert web.answers[URL].is_closed


@pytest.mark.parametrize(("size", "total"), [("right", 7), (None, 0)], ids=["known", "unknown"])
def test_progress_is_told(web, store, size, total):
    web.answers[URL] = FakeAnswer(b"content", size=size)
    seen = []

    downloader().fetch(URL, store, reuse=False, on_progress=lambda *now: seen.append(now))

    assert seen == [(4, total), (7, total)]


def test_a_url_that_is_not_allowed_is_not_requested(web, store):
    with pytest.raises(UrlNotAllowed):
        downloader().fetch("http://bad/x.mar", store, reuse=False)
    assert web.requests == []


def test_hosts_that_the_operator_names_are_trusted(web, store):
    web.answers[URL] = FakeAnswer(b"1")
    web.answers["http://good/y.mar"] = FakeAnswer(b"1")

    downloader("http://good/.*").fetch(URL, store, reuse=False)
    downloader("http://.*").fetch("http://good/y.mar", store, reuse=False)

    assert web.requests == [(URL, True), ("http://good/y.mar", False)]


def test_a_redirect_is_followed_and_the_first_name_stays(web, store):
    web.answers[URL] = FakeAnswer(status=302, location="/elsewhere/y.mar")
    web.answers["http://good/elsewhere/y.mar"] = FakeAnswer(
        status=307, location="https://good/z.mar"
    )
    web.answers["https://good/z.mar"] = FakeAnswer(b"content")

    result = downloader().fetch(URL, store, reuse=False)

    assert result.path == store / "x.mar"
    assert (store / "x.mar").read_bytes() == b"content"
    assert web.answers[URL].is_closed


@pytest.mark.parametrize(
    ("url", "location"),
    [
        pytest.param(URL, "http://bad/x.mar", id="other host"),
        pytest.param(URL, "//bad/x.mar", id="other host, same scheme"),
        pytest.param(URL, "/a/%2e%2e/x.mar", id="dots"),
        pytest.param(URL, "file:///etc/passwd", id="file"),
        pytest.param("https://good/x.mar", "http://good/x.mar", id="no longer encrypted"),
    ],
)
def test_a_redirect_to_a_place_that_is_not_allowed_is_refused(web, store, url, location):
    web.answers[url] = FakeAnswer(status=302, location=location)

    with pytest.raises(UrlNotAllowed):
        downloader().fetch(url, store, reuse=False)
    assert len(web.requests) == 1
    assert names(store) == []


def test_redirects_come_to_an_end(web, store):
    web.answers[URL] = FakeAnswer(status=302, location=URL)

    with pytest.raises(DownloadFailed, match="more than 5 redirects"):
        downloader().fetch(URL, store, reuse=False)
    assert len(web.requests) == 6


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(FakeAnswer(b"no", status=404), id="not found"),
        pytest.param(FakeAnswer(status=204), id="no content"),
        pytest.param(FakeAnswer(status=302), id="redirect without location"),
        pytest.param(FakeAnswer(b"content", size=8), id="cut"),
        pytest.param(FakeAnswer(b"content", size=6), id="too much"),
        pytest.param(FakeAnswer(b"x" * 101), id="too large"),
        pytest.param(ConnectionRefusedError(111, "Connection refused"), id="refused"),
        pytest.param(TimeoutError("timed out"), id="silent"),
        pytest.param(http.client.BadStatusLine("SSH"), id="no HTTP"),
        pytest.param(http.client.InvalidURL("port"), id="bad port"),
    ],
)
def test_a_failed_download_leaves_nothing_behind(web, store, answer):
    web.answers[URL] = answer

    with pytest.raises(DownloadFailed, match=re.escape(URL)):
        downloader(max_bytes=100).fetch(URL, store, reuse=False)
    assert names(store) == []


def test_a_download_must_end_in_time(web, store):
    ticks = iter([0.0, 5.0, 11.0])
    web.answers[URL] = FakeAnswer(b"content for a while")

    with pytest.raises(DownloadFailed, match="took longer than 10"):
        downloader(clock=lambda: next(ticks), total_timeout_s=10).fetch(URL, store, reuse=False)
    assert names(store) == []


@pytest.mark.parametrize(
    "url",
    ["http://good/", "http://good/a/", "http://good/.hidden", "http://good/" + "x" * 300],
    ids=["root", "folder", "hidden", "long"],
)
def test_the_last_component_must_be_a_file_name(web, store, url):
    web.answers[url] = FakeAnswer(b"content")

    with pytest.raises(DownloadFailed):
        downloader().fetch(url, store, reuse=False)
    assert names(store) == []


def test_a_broken_url_is_a_failed_download(store):
    with pytest.raises(DownloadFailed):
        downloader("http://.*").fetch("http://[::1/x.mar", store, reuse=False)


def test_errors_do_not_tell_paths_of_the_server(web, store):
    web.answers[URL] = FakeAnswer(b"content")
    store.rmdir()

    with pytest.raises(DownloadFailed) as caught:
        downloader().fetch(URL, store, reuse=False)
    assert str(store) not in str(caught.value)


# -- a file of that name is there ----------------------------------------------------------


@pytest.mark.parametrize("content", [b"content", b"other"], ids=["same content", "other content"])
def test_a_client_cannot_replace_a_file(web, store, content):
    (store / "x.mar").write_bytes(content)

    with pytest.raises(Conflict, match="already exists"):
        downloader().fetch(URL, store, reuse=False)
    assert web.requests == []
    assert (store / "x.mar").read_bytes() == content


def test_at_start_the_same_content_is_used_again(web, store):
    (store / "x.mar").write_bytes(b"content")
    web.answers[URL] = FakeAnswer(b"content")

    result = downloader().fetch(URL, store, reuse=True)

    assert result == Download(path=store / "x.mar", is_new=False, is_copy=True)
    assert names(store) == ["x.mar"]


def test_at_start_other_content_is_a_conflict(web, store):
    (store / "x.mar").write_bytes(b"old")
    web.answers[URL] = FakeAnswer(b"content")

    with pytest.raises(Conflict):
        downloader().fetch(URL, store, reuse=True)
    assert (store / "x.mar").read_bytes() == b"old"
    assert names(store) == ["x.mar"]


def test_a_file_that_appears_during_the_download_is_not_replaced(web, store):
    web.answers[URL] = FakeAnswer(b"content")

    with pytest.raises(Conflict):
        downloader().fetch(
            URL,
            store,
            reuse=False,
            on_progress=lambda *_: (store / "x.mar").write_bytes(b"faster"),
        )
    assert (store / "x.mar").read_bytes() == b"faster"
    assert names(store) == ["x.mar"]


# -- files of this host --------------------------------------------------------------------


@pytest.mark.parametrize("host", ["", "localhost"])
def test_a_file_is_copied(tmp_path, store, host):
    (tmp_path / "my x.mar").write_bytes(b"content")

    result = downloader().fetch(f"file://{host}{tmp_path}/my%20x.mar", store, reuse=False)

    assert result.path == store / "my%20x.mar"
    assert result.path.read_bytes() == b"content"
    assert (tmp_path / "my x.mar").exists()


@pytest.mark.parametrize("url", ["file://x.mar", "file:///absent/x.mar", "file:///dev/null"])
def test_what_is_no_local_file_is_a_failed_download(store, url):
    with pytest.raises(DownloadFailed):
        downloader().fetch(url, store, reuse=False)
    assert names(store) == []


def test_a_nul_in_a_file_url_is_a_failed_download(store):
    with pytest.raises(DownloadFailed):
        downloader().fetch("file:///a%00/x.mar", store, reuse=True)


def test_at_start_a_url_of_a_file_of_the_store_is_that_file(store):
    (store / "x.mar").write_bytes(b"content")

    result = downloader().fetch(f"file://{store}/x.mar", store, reuse=True)

    assert result == Download(path=store / "x.mar", is_new=False, is_copy=False)


# -- digests and signatures ---------------------------------------------------------------------------

DIGEST = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"  # of b"content"
AWS = {
    "AWS_ACCESS_KEY_ID": "id",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_SESSION_TOKEN": "token",
}
S3_URL = "https://bucket.s3.amazonaws.com/x.mar"
ANY = "https?://.*|file://.*"


@pytest.mark.parametrize("digest", [DIGEST, DIGEST.upper()])
def test_an_archive_with_the_right_digest_is_stored(web, store, digest):
    web.answers[URL] = FakeAnswer(b"content")

    downloader().fetch(URL, store, reuse=False, sha256=digest)

    assert names(store) == ["x.mar"]


def test_an_archive_with_another_digest_leaves_nothing_behind(web, store):
    web.answers[URL] = FakeAnswer(b"contents")

    with pytest.raises(InvalidArchive, match="which is not the one in sha256"):
        downloader().fetch(URL, store, reuse=False, sha256=DIGEST)

    assert names(store) == []


def test_a_download_that_its_listener_ends_leaves_nothing_behind(web, store):
    web.answers[URL] = FakeAnswer(b"content")

    def stop(done, total):
        raise ShuttingDown

    with pytest.raises(ShuttingDown):
        downloader().fetch(URL, store, reuse=False, on_progress=stop)

    assert names(store) == []
    assert web.answers[URL].is_closed


def test_a_request_to_s3_is_signed_and_so_is_one_it_redirects_to(web, store):
    other = "https://bucket.s3.eu-west-1.amazonaws.com/x.mar"
    web.answers |= {S3_URL: FakeAnswer(status=307, location=other), other: FakeAnswer(b"content")}

    Downloader(AllowList(ANY), environ=AWS).fetch(S3_URL, store, reuse=False, signs_s3=True)

    first, second = web.headers
    assert "/eu-west-1/s3/aws4_request" in first["Authorization"]
    assert first["host"] == "bucket.s3.amazonaws.com"
    assert second["host"] == "bucket.s3.eu-west-1.amazonaws.com"


def test_nobody_else_gets_a_signature(web, store):
    web.answers |= {S3_URL: FakeAnswer(status=302, location=URL), URL: FakeAnswer(b"content")}

    with pytest.raises(UrlNotAllowed):  # from https to http
        Downloader(AllowList(ANY), environ=AWS).fetch(S3_URL, store, reuse=False, signs_s3=True)
    elsewhere = "https://elsewhere/x.mar"
    web.answers |= {
        S3_URL: FakeAnswer(status=302, location=elsewhere),
        elsewhere: FakeAnswer(b"content"),
    }
    Downloader(AllowList(ANY), environ=AWS).fetch(S3_URL, store, reuse=False, signs_s3=True)

    assert web.headers[-1] is None


@pytest.mark.parametrize("url", ["https://elsewhere/x.mar", "file:///x.mar"])
def test_what_is_not_s3_is_not_signed_unless_the_operator_names_it(web, store, url):
    with pytest.raises(InvalidParameter, match="s3_sse_kms"):
        Downloader(AllowList(ANY), environ=AWS).fetch(url, store, reuse=False, signs_s3=True)

    assert web.headers == []


def test_a_server_that_the_operator_names_may_speak_s3(web, store):
    web.answers[URL] = FakeAnswer(b"content")

    Downloader(AllowList("http://good/.*"), environ=AWS).fetch(
        URL, store, reuse=False, signs_s3=True
    )

    assert web.headers[0]["x-amz-security-token"] == "token"


def test_without_credentials_nothing_is_asked_for(web, store):
    with pytest.raises(InvalidParameter, match="AWS_ACCESS_KEY_ID"):
        Downloader(AllowList(ANY)).fetch(S3_URL, store, reuse=False, signs_s3=True)

    assert web.headers == []


def test_requests_own_bundle_of_certificates_is_used(web, store, tmp_path):
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    web.answers[URL] = FakeAnswer(b"content")

    Downloader(AllowList(ANY), environ={"REQUESTS_CA_BUNDLE": str(bundle)}).fetch(
        URL, store, reuse=False
    )

    assert web.bundles == [bundle]
