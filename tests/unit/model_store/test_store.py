import hashlib
import logging

import pytest

from tsl.model_store import download
from tsl.model_store.config import ServerDefaults
from tsl.model_store.request import RegistrationRequest
from tsl.model_store.store import ModelStore
from tsl.protocol.errors import (
    ConfigError,
    Conflict,
    DownloadFailed,
    InvalidArchive,
    InvalidParameter,
    ModelNotFound,
    Unsupported,
    UrlNotAllowed,
)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


@pytest.fixture
def make_store(root, tmp_path):
    def make(**options):
        return ModelStore(root, tmp_path / "work", **options)

    return make


@pytest.fixture
def store(make_store):
    return make_store()


@pytest.fixture
def add_model(root, write_zip, model_files):
    """Put a model into the store."""

    def add(name="echo.mar", extra=None, **members):
        return write_zip(root / name, model_files(extra, **members))

    return add


@pytest.fixture
def make_folder(model_files):
    """Write a model as plain files."""

    def make(folder, **members):
        for name, content in model_files(**members).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return folder

    return make


def ask(url="echo.mar", **values):
    return RegistrationRequest(url=url, **values)


def unpacked(tmp_path):
    return list((tmp_path / "work" / "models").iterdir())


# -- a model of the store ------------------------------------------------------------------


def test_a_model_is_what_its_manifest_says(store, add_model):
    add_model(modelVersion="2.0", handler="echo.py:run")

    version = store.resolve(ask())

    assert (version.name, version.version) == ("echo", "2.0")
    assert (version.handler, version.runtime) == ("echo.py:run", "python")
    assert (version.url, version.archive_name) == ("echo.mar", "echo.mar")
    assert (version.model_dir / "echo.py").is_file()
    assert version.manifest.raw["model"]["modelName"] == "echo"
    assert version.config.batch_size == 1
    assert not version.loaded_at_startup


def test_the_request_wins_over_the_manifest(store, add_model):
    add_model()

    version = store.resolve(
        ask(model_name="outer", handler="other.py", runtime="python3", batch_size=4)
    )

    assert (version.name, version.handler, version.runtime) == ("outer", "other.py", "python3")
    assert version.config.batch_size == 4
    assert version.manifest.model_name == "echo"


@pytest.mark.parametrize("url", ["echo.mar", "/any/where/echo.mar", "sub/echo.mar"])
def test_only_the_last_component_of_a_local_name_counts(store, add_model, url):
    add_model()

    assert store.resolve(ask(url)).url == "echo.mar"


def test_a_tar_gz_file_is_a_model(store, root, write_tar, model_files):
    write_tar(root / "echo.tar.gz", model_files())

    assert store.resolve(ask("echo.tar.gz")).name == "echo"


def test_the_configuration_file_of_the_archive_is_merged(make_store, add_model):
    add_model(
        extra={"conf/model.yaml": b"batchSize: 8\nhandler: {a: 1}"}, configFile="conf/model.yaml"
    )
    store = make_store(
        defaults=ServerDefaults(response_timeout_s=7),
        models={"echo": {"1.0": {"batchSize": 3, "maxBatchDelay": 30}}},
    )

    config = store.resolve(ask()).config

    assert (config.batch_size, config.max_batch_delay_ms, config.response_timeout_s) == (8, 30, 7)
    assert config.yaml == {"batchSize": 8, "handler": {"a": 1}}


def test_settings_of_the_server_go_by_the_registered_name(make_store, add_model):
    add_model()
    store = make_store(models={"outer": {"1.0": {"batchSize": 3}}, "echo": {"2": {"batchSize": 4}}})

    assert store.resolve(ask(model_name="outer")).config.batch_size == 3
    assert store.resolve(ask()).config.batch_size == 1


def test_a_runtime_of_the_server_comes_first(make_store, add_model):
    add_model()
    store = make_store(models={"echo": {"1.0": {"runtimeType": "python3"}}})

    assert store.resolve(ask(runtime="python")).runtime == "python3"


def test_an_unknown_runtime_of_the_server_is_passed_over(make_store, add_model, caplog):
    add_model()
    store = make_store(models={"echo": {"1.0": {"runtimeType": "perl"}}})

    with caplog.at_level(logging.WARNING):
        assert store.resolve(ask()).runtime == "python"
    assert "runtimeType" in caplog.text


def test_values_that_are_passed_over_are_logged_with_the_model(store, add_model, caplog):
    add_model(extra={"c.yaml": b"batchSize: big"}, configFile="c.yaml")

    with caplog.at_level(logging.WARNING):
        store.resolve(ask())

    assert "model echo version 1.0: batchSize" in caplog.text


def test_a_configuration_file_that_is_missing_is_logged(store, add_model, caplog):
    add_model(configFile="absent.yaml")

    with caplog.at_level(logging.WARNING):
        assert store.resolve(ask()).config.yaml == {}
    assert "absent.yaml" in caplog.text


def test_an_archive_without_handler_uses_the_servers(make_store, add_model):
    add_model(handler=None)

    version = make_store(defaults=ServerDefaults(service_handler="mine:run")).resolve(ask())

    assert version.handler == "mine:run"


@pytest.mark.parametrize(
    ("members", "extra", "words"),
    [
        pytest.param({"handler": None}, None, "no handler", id="no handler"),
        pytest.param({"modelName": None}, None, "name is not defined", id="no name"),
        pytest.param({"modelName": "a/b"}, None, "modelName", id="name with a slash"),
        pytest.param({"modelVersion": "1/0"}, None, "modelVersion", id="version with a slash"),
        pytest.param({"configFile": "c"}, {"c": b"a: [1, 2\nb: }"}, "YAML", id="broken YAML"),
        pytest.param({"configFile": "c"}, {"c/d": b""}, "cannot be read", id="folder as YAML"),
        pytest.param({"configFile": "../c"}, None, "configFile", id="file outside"),
        pytest.param({}, {"a": b"", "a/b": b""}, "same name", id="bad archive"),
    ],
)
def test_a_bad_archive_is_refused_and_nothing_stays(
    store, add_model, tmp_path, members, extra, words
):
    add_model(extra=extra, **members)

    with pytest.raises(InvalidArchive, match=words):
        store.resolve(ask())
    assert unpacked(tmp_path) == []


def test_a_file_that_is_no_archive_is_refused(store, root):
    (root / "garbage.mar").write_text("this is no archive")

    with pytest.raises(InvalidArchive):
        store.resolve(ask("garbage.mar"))


def test_a_model_that_is_not_python_is_not_served(store, add_model):
    add_model()

    with pytest.raises(Unsupported, match="LSP"):
        store.resolve(ask(runtime="LSP"))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param({"runtime": "perl"}, "perl", id="runtime"),
        pytest.param({"runtime": ""}, "RuntimeType", id="empty runtime"),
        pytest.param({"model_name": "a/b"}, "model_name", id="name with a slash"),
        pytest.param({"model_name": ""}, "model_name", id="empty name"),
        pytest.param({"model_name": "a\nb"}, "model_name", id="control character"),
    ],
)
def test_wrong_parameters_are_named(store, add_model, values, words):
    add_model()

    with pytest.raises(InvalidParameter, match=words):
        store.resolve(ask(**values))


@pytest.mark.parametrize("name", ["my model", "a+b", "größe"])
def test_names_may_have_other_characters(store, add_model, name):
    add_model()

    assert store.resolve(ask(model_name=name)).name == name


@pytest.mark.parametrize(
    "url",
    ["", "missing.mar", ".", "/", "a\0b.mar", "x" * 300, "\ud800.mar", "missing/"],
    ids=["empty", "missing", "dot", "root", "NUL", "long", "no text", "missing folder"],
)
def test_a_location_without_a_model_is_not_found(store, url):
    with pytest.raises(ModelNotFound):
        store.resolve(ask(url))


@pytest.mark.parametrize("url", ["../secret.mar", "../../etc/passwd", "a/../echo.mar", ".."])
def test_relative_paths_are_refused(store, add_model, url):
    add_model()

    with pytest.raises(UrlNotAllowed, match="Relative path"):
        store.resolve(ask(url))


def test_without_a_model_store_nothing_is_found(tmp_path):
    with pytest.raises(ModelNotFound, match="has not been configured"):
        ModelStore(None, tmp_path / "work").resolve(ask())


def test_a_model_store_that_is_missing_stops_the_server(tmp_path):
    with pytest.raises(ConfigError, match="model store"):
        ModelStore(tmp_path / "absent", tmp_path / "work")


# -- at the start of the server ------------------------------------------------------------


@pytest.mark.parametrize(
    ("file_name", "name"), [("no-man.ifest.mar", "no_man_ifest"), ("echo.tar.gz", "echo_tar_gz")]
)
def test_at_start_the_file_name_is_the_last_resort_for_a_name(
    store, root, add_model, file_name, name
):
    add_model(file_name, modelName=None)

    version = store.resolve(ask(file_name, loaded_at_startup=True))

    assert version.name == name
    assert version.loaded_at_startup


def test_workers_at_start_are_the_servers_default(make_store, add_model):
    add_model()
    store = make_store(defaults=ServerDefaults(startup_workers=4))

    assert store.resolve(ask(loaded_at_startup=True)).config.min_workers == 4


def test_all_means_every_archive_and_folder(store, root):
    for name in ("b.mar", "a.model", "c.tar.gz", ".hidden.mar", "notes.txt", "d.zip"):
        (root / name).touch()
    (root / "folder").mkdir()
    (root / ".git").mkdir()

    expected = [(None, name) for name in ("a.model", "b.mar", "c.tar.gz", "folder")]
    assert store.list_start_models("all") == expected
    assert store.list_start_models(" ALL ") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" , ,", []),
        ("a.mar", [(None, "a.mar")]),
        ("a.mar, n=b.mar ,,", [(None, "a.mar"), ("n", "b.mar")]),
        ("n=http://h/x.mar?a=b", [("n", "http://h/x.mar?a=b")]),
        ("http://h/x.mar?a=b", [(None, "http://h/x.mar?a=b")]),
        ("=a.mar", [(None, "a.mar")]),
        ("n=", []),
        ("m=/opt/ml/model", [("m", "/opt/ml/model")]),
    ],
)
def test_models_to_start_with_are_a_list(store, text, expected):
    assert store.list_start_models(text) == expected


def test_all_of_no_model_store_is_nothing(tmp_path):
    assert ModelStore(None, tmp_path / "work").list_start_models("all") == []


# -- folders -------------------------------------------------------------------------------


def test_a_folder_of_the_store_is_served_in_place(store, root, make_folder):
    make_folder(root / "folder")

    version = store.resolve(ask("folder"))

    assert (version.model_dir, version.url) == (root / "folder", "folder")
    store.remove(version)
    assert (root / "folder" / "echo.py").exists()


def test_a_folder_without_manifest_takes_its_values_from_request_and_server(make_store, root):
    (root / "plain").mkdir()
    (root / "plain" / "weights.pt").touch()
    store = make_store(defaults=ServerDefaults(service_handler="mine"))

    version = store.resolve(ask("plain", model_name="m"))

    assert (version.name, version.version, version.handler) == ("m", "1.0", "mine")
    assert version.manifest.raw is None


def test_a_folder_inside_of_the_store_may_be_named_by_its_path(store, root, make_folder):
    make_folder(root / "group" / "model")

    version = store.resolve(ask(str(root / "group" / "model")))

    assert version.model_dir == root / "group" / "model"


def test_a_folder_outside_of_the_store_is_the_operators_choice(store, tmp_path, make_folder):
    outside = make_folder(tmp_path / "outside")

    version = store.resolve(ask(str(outside), loaded_at_startup=True))

    assert (version.model_dir, version.url) == (outside, str(outside))


def test_at_start_a_folder_may_be_named_from_the_working_directory(
    store, tmp_path, make_folder, monkeypatch
):
    make_folder(tmp_path / "here" / "model")
    monkeypatch.chdir(tmp_path)

    version = store.resolve(ask("here/model", loaded_at_startup=True))

    assert version.model_dir == tmp_path / "here" / "model"
    with pytest.raises(ModelNotFound):
        store.resolve(ask("here/model"))


def test_clients_cannot_tell_what_is_outside_of_the_store(store, tmp_path, make_folder):
    make_folder(tmp_path / "present")
    messages = []

    for name in ("present", "nothing"):
        with pytest.raises(UrlNotAllowed) as caught:
            store.resolve(ask(f"{tmp_path}/{name}"))
        messages.append(str(caught.value).replace(name, "NAME"))

    assert messages[0] == messages[1]


def test_a_path_outside_means_the_folder_of_that_name_in_the_store(
    store, root, tmp_path, make_folder
):
    make_folder(root / "model")
    make_folder(tmp_path / "outside" / "model", modelName="evil")

    assert store.resolve(ask(f"{tmp_path}/outside/model")).name == "echo"


# -- URLs ----------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path, write_zip, model_files):
    """A model outside of the store, and its URL."""
    (tmp_path / "source").mkdir()
    path = write_zip(tmp_path / "source" / "far.mar", model_files(modelName="far"))
    return f"file://{path}"


def test_a_model_is_fetched_into_the_store(store, root, source):
    version = store.resolve(ask(source))

    assert (version.name, version.url, version.archive_name) == ("far", source, "far.mar")
    assert (root / "far.mar").is_file()


def test_the_same_url_again_is_a_conflict(store, source):
    store.resolve(ask(source))

    with pytest.raises(Conflict):
        store.resolve(ask(source, model_name="second"))


def test_what_was_fetched_is_deleted_with_the_model(store, root, source, tmp_path):
    store.remove(store.resolve(ask(source)))

    assert not (root / "far.mar").exists()
    assert unpacked(tmp_path) == []
    assert store.resolve(ask(source)).name == "far"


def test_a_local_archive_stays_when_the_model_goes(store, root, add_model, tmp_path):
    add_model()

    store.remove(store.resolve(ask()))

    assert (root / "echo.mar").exists()
    assert unpacked(tmp_path) == []


def test_an_unpacked_folder_stays_while_another_version_uses_it(store, add_model):
    add_model()
    first, second = store.resolve(ask()), store.resolve(ask(model_name="other"))

    store.remove(first)
    assert (second.model_dir / "echo.py").exists()

    store.remove(second)
    assert not second.model_dir.exists()


def test_a_fetched_file_that_is_no_archive_does_not_stay(store, root, tmp_path):
    (tmp_path / "page.mar").write_text("<html>no archive</html>")

    with pytest.raises(InvalidArchive):
        store.resolve(ask(f"file://{tmp_path}/page.mar"))
    assert list(root.iterdir()) == []


def test_a_restarted_server_finds_what_it_fetched(make_store, root, source):
    make_store().resolve(ask(source, loaded_at_startup=True))

    version = make_store().resolve(ask(source, loaded_at_startup=True))

    assert version.name == "far"
    assert [path.name for path in root.iterdir()] == ["far.mar"]


def test_a_failed_restart_keeps_the_file_of_the_first_start(make_store, root, source):
    make_store().resolve(ask(source, loaded_at_startup=True))

    with pytest.raises(Unsupported):
        make_store().resolve(ask(source, loaded_at_startup=True, runtime="LSP"))
    assert (root / "far.mar").exists()


def test_a_url_of_a_file_of_the_store_does_not_delete_it(store, root, add_model):
    add_model()

    store.remove(store.resolve(ask(f"file://{root}/echo.mar", loaded_at_startup=True)))

    assert (root / "echo.mar").exists()


@pytest.mark.parametrize(
    "url",
    [
        "http://bad/x.mar",
        "HTTP://bad/x.mar",
        "file:///bad/x.mar",
        "s3://good/echo.mar",
        "http://good/../bad/x.mar",
        "http://good/%2e%2e/bad/x.mar",
    ],
)
def test_urls_outside_of_the_allow_list_are_refused(make_store, add_model, url):
    add_model()

    with pytest.raises(UrlNotAllowed):
        make_store(allowed_urls="http://good/.*").resolve(ask(url))


def test_an_allow_list_that_matches_everything_does_not_make_names_urls(make_store, add_model):
    add_model()

    assert make_store(allowed_urls=".*").resolve(ask()).name == "echo"


def test_a_server_that_does_not_answer_is_a_failed_download(store, monkeypatch):
    def refuse(*_, **__):
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(download, "request", refuse)

    with pytest.raises(DownloadFailed, match="Connection refused"):
        store.resolve(ask("http://127.0.0.1:1/x.mar"))


def test_progress_names_the_stages(store, source):
    stages = []

    store.resolve(ask(source), lambda stage, *_: stages.append(stage))

    assert list(dict.fromkeys(stages)) == ["downloading", "checking", "unpacking"]


# -- digests ------------------------------------------------------------------------------------------


def test_an_archive_of_the_store_is_checked_against_its_digest(store, add_model):
    digest = hashlib.sha256(add_model().read_bytes()).hexdigest()

    assert store.resolve(RegistrationRequest(url="echo.mar", sha256=digest)).name == "echo"
    with pytest.raises(InvalidArchive, match="sha256"):
        store.resolve(RegistrationRequest(url="echo.mar", sha256="0" * 64))


@pytest.mark.parametrize("digest", ["", "0" * 63, "0" * 65, "g" * 64, "0" * 64 + "\n"])
def test_what_is_no_digest_is_refused_by_name(store, add_model, digest):
    add_model()

    with pytest.raises(InvalidParameter, match="sha256"):
        store.resolve(RegistrationRequest(url="echo.mar", sha256=digest))


def test_a_folder_has_no_digest(store, root, make_folder):
    make_folder(root / "echo")

    with pytest.raises(ModelNotFound, match="echo"):
        store.resolve(RegistrationRequest(url="echo", sha256="0" * 64))
