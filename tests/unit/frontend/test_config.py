"""The server configuration: defaults, precedence, and everything that can be wrong with it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tsl.frontend.addresses import Address
from tsl.frontend.child_process import SECRET_VARIABLES, without_secrets
from tsl.frontend.config import SETTINGS, ConfigNotes, ServerConfig
from tsl.frontend.config_fields import InitialModels
from tsl.protocol.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]


def load(text="", environ=None, **overrides):
    return ServerConfig.load(text, environ or {}, overrides)


def problems_of(text="", environ=None, **overrides):
    with pytest.raises(ConfigError) as caught:
        load(text, environ, **overrides)
    return caught.value.problems


# -- defaults


def test_no_source_at_all_gives_the_defaults():
    config = ServerConfig.load(None, {}, {})

    assert config.inference_address == Address(scheme="http", host="127.0.0.1", port=8080)
    assert config.model_store is None
    assert config.default_response_timeout_s == 120
    assert config.number_of_gpu is None
    assert config.decode_input_request
    assert not config.disable_token_authorization
    assert config.models == {}
    assert config.log_location == Path("logs")
    assert set(config.sources.values()) == {"default"}


def test_loading_nothing_equals_constructing_with_nothing():
    loaded = ServerConfig.load(None, {}, {})

    for name in SETTINGS:
        assert getattr(loaded, name) == getattr(ServerConfig(), name)


@pytest.mark.parametrize("name", SETTINGS)
def test_every_default_is_what_its_own_parser_makes_of_its_text(name):
    declared = SETTINGS[name]

    assert getattr(ServerConfig(), name) == declared.parse(declared.default_text)


def test_property_names_are_unique():
    keys = [declared.key for declared in SETTINGS.values()]

    assert len(keys) == len(set(keys))


# -- the file


def test_java_properties_syntax_is_understood():
    text = '# comment\njob_queue_size : 7\nmodels={\\\n  "m": {"1.0": \\\n {"minWorkers": 2}}}\n'

    config = load(text)

    assert config.job_queue_size == 7
    assert config.models == {"m": {"1.0": {"minWorkers": 2}}}


def test_blanks_around_a_value_do_not_matter():
    assert load("job_queue_size=7  \n").job_queue_size == 7


def test_an_empty_value_means_the_default():
    config = load("job_queue_size=\nservice_envelope=\ninference_address=\n")

    assert config.job_queue_size == 100
    assert config.service_envelope == ""
    assert config.inference_address.port == 8080


@pytest.mark.parametrize(
    ("key", "port"),
    [("inference_address", 80), ("management_address", 8081), ("metrics_address", 8082)],
)
def test_an_address_without_port_gets_the_port_of_its_api(key, port):
    assert getattr(load(f"{key}=http://0.0.0.0"), key).port == port


@pytest.mark.parametrize(
    ("text", "expected"),
    [("true", True), ("TRUE", True), ("yes", False), ("1", False), ("false", False)],
)
def test_only_true_is_true(text, expected):
    assert load(f"enable_model_api={text}").enable_model_api is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("ALL", InitialModels(all_in_store=True), id="all"),
        pytest.param(
            "a.mar, b.mar", InitialModels(listed=(("", "a.mar"), ("", "b.mar"))), id="list"
        ),
        pytest.param(
            "n=a.mar,m=http://h/x?y=z",
            InitialModels(listed=(("n", "a.mar"), ("m", "http://h/x?y=z"))),
            id="names",
        ),
        pytest.param(
            "http://h/x?y=z", InitialModels(listed=(("", "http://h/x?y=z"),)), id="url with equals"
        ),
        pytest.param("a.mar,,n=", InitialModels(listed=(("", "a.mar"),)), id="empty parts"),
    ],
)
def test_models_to_load_are_understood(text, expected):
    assert load(f"load_models={text}").load_models == expected


def test_the_workflow_store_is_the_model_store_unless_given():
    assert load("model_store=/m").workflow_store == Path("/m")
    assert load("model_store=/m\nworkflow_store=/w").workflow_store == Path("/w")


def test_several_urls_may_be_allowed():
    text = "file:///a/.*, http://h/.*"

    assert load(f"allowed_urls={text}").allowed_urls == text


def test_properties_of_the_java_server_are_listed_as_ignored():
    config = load("vmargs=-Xmx1g\nnumber_of_netty_threads=4\nio_ratio=50\n")

    assert config.ignored == ("io_ratio", "number_of_netty_threads", "vmargs")
    assert config.warnings == ()


def test_unknown_properties_are_warned_about_once():
    config = load("NUM_WORKERS=1\njob_que_size=2\n")

    assert config.warnings == ("Unknown properties are not used: NUM_WORKERS, job_que_size.",)


def test_properties_that_snapshots_hold_for_themselves_are_passed_over():
    config = load("version=0.12.0\ntsConfigFile=/c\n")

    assert config.warnings == config.ignored == ()


def test_the_work_dir_cannot_be_set_in_the_file():
    config = load("work_dir=/elsewhere", {"TEMP": "/t"})

    assert config.work_dir == Path("/t")
    assert "work_dir" in config.warnings[0]


@pytest.mark.parametrize(
    ("line", "default"),
    [("metrics_mode=loud", "log"), ("token_expiration_min=soon", 60.0)],
    ids=["metrics mode", "token expiration"],
)
def test_values_that_torchserve_forgives_become_the_default_and_a_warning(line, default):
    config = load(line)

    assert getattr(config, line.partition("=")[0]) == default
    assert line in config.warnings[0]


# -- variables inside the file


def test_a_variable_inside_a_value_is_replaced():
    assert load("model_store=/$$A$$/x-$$B$$", {"A": "1", "B": "2"}).model_store == Path("/1/x-2")


def test_an_unset_variable_inside_a_value_is_a_problem_that_names_it():
    (problem,) = problems_of("cors_allowed_origin=$$NOWHERE$$")

    assert "Invalid Environment Variable NOWHERE" in problem


# -- precedence


def test_the_command_line_beats_the_file():
    config = load("job_queue_size=1", job_queue_size="2")

    assert config.job_queue_size == 2
    assert config.sources["job_queue_size"] == "command line"


def test_the_environment_beats_the_command_line_if_the_file_allows_it():
    environ = {"TS_JOB_QUEUE_SIZE": "3"}

    config = load("enable_envvars_config=true\njob_queue_size=1", environ, job_queue_size="2")

    assert config.job_queue_size == 3
    assert config.sources["job_queue_size"] == "environment"
    assert config.sources["enable_envvars_config"] == "file"


def test_the_environment_is_not_read_unless_the_file_allows_it():
    config = load("job_queue_size=1", {"TS_JOB_QUEUE_SIZE": "3"})

    assert config.job_queue_size == 1
    assert config.sources["job_queue_size"] == "file"


def test_the_environment_cannot_allow_itself():
    environ = {"TS_ENABLE_ENVVARS_CONFIG": "true", "TS_JOB_QUEUE_SIZE": "3"}

    assert load("", environ).job_queue_size == 100


def test_an_empty_variable_takes_back_what_the_file_says():
    environ = {"TS_SERVICE_ENVELOPE": ""}

    config = load("enable_envvars_config=true\nservice_envelope=kserve", environ)

    assert config.service_envelope == ""


def test_values_that_are_no_text_are_taken_as_they_are():
    config = load("enable_model_api=false", model_store=Path("/m"), enable_model_api=True)

    assert config.model_store == Path("/m")
    assert config.enable_model_api


def test_a_bad_value_that_is_overridden_does_no_harm():
    assert load("job_queue_size=many", job_queue_size="2").job_queue_size == 2


def test_allowed_urls_come_from_the_environment_only_with_a_second_switch():
    environ = {"TS_ALLOWED_URLS": "http://env/.*"}
    text = "enable_envvars_config=true\nallowed_urls=http://file/.*\n"

    once = load(text, environ)
    twice = load(text + "use_env_allowed_urls=true", environ)

    assert once.allowed_urls == "http://file/.*"
    assert twice.allowed_urls == "http://env/.*"


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("TS_TOKEN_EXPIRATION_TIME_MIN", "token_expiration_min"),
        ("TS_HEADER_KEY_SEQUENCE_ID", "ts_header_key_sequence_id"),
        ("TS_DEFAULT_RESPONSE_TIMEOUT", "default_response_timeout_s"),
    ],
)
def test_variables_have_the_names_of_torchserve(variable, name):
    config = load("enable_envvars_config=true", {variable: "5"})

    assert str(getattr(config, name)) in {"5", "5.0"}


@pytest.mark.parametrize(
    ("environ", "name", "expected"),
    [
        ({"LOG_LOCATION": "/l"}, "log_location", Path("/l")),
        ({"METRICS_LOCATION": "/x"}, "metrics_location", Path("/x")),
        ({"TS_MODEL_SERVER_HOME": "/h"}, "model_server_home", "/h"),
        ({"TMPDIR": "/t"}, "work_dir", Path("/t")),
        ({"TMPDIR": "/t", "TEMP": "/u"}, "work_dir", Path("/u")),
    ],
    ids=["logs", "metric logs", "home", "TMPDIR", "TEMP beats TMPDIR"],
)
def test_some_variables_are_always_read(environ, name, expected):
    config = load("", environ)

    assert getattr(config, name) == expected
    assert config.sources[SETTINGS[name].key] == "environment"


@pytest.mark.parametrize(
    ("value", "expected"), [("oip", True), ("v1", False), ("", True)], ids=["oip", "other", "empty"]
)
def test_the_inference_protocol_variable_beats_the_file_unless_empty(value, expected):
    config = load("ts_open_inference_protocol=true", {"TS_OPEN_INFERENCE_PROTOCOL": value})

    assert config.ts_open_inference_protocol is expected


# -- problems


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("job_queue_size=many", "expected a whole number of at least 1"),
        ("job_queue_size=0", "expected a whole number of at least 1"),
        ("grpc_inference_port=70000", "expected a whole number from 0 to 65535"),
        ("drain_timeout=-1", "expected a number of seconds above 0"),
        ("keep_alive_timeout=nan", "expected a number of seconds above 0"),
        ("number_of_gpu=x", "expected a whole number of at least 0"),
        ("inference_address=127.0.0.1:80", "expected http://host"),
        ("status_codes=best", "expected one of torchserve, standard"),
        ("worker_start=thread", "expected one of auto, fork, spawn"),
        ("blacklist_env_vars=(", "is not a regular expression"),
        ("allowed_urls=http://.*,[", "is not a regular expression"),
        ("models={", "this is not JSON"),
        ("models=[]", "expected a JSON object"),
        ('models={"m": 1}', "'m' must hold an object"),
        ('models={"m": {"1.0": 1}}', "version '1.0' of 'm' must hold an object"),
        ('models={"m": {"1.0": {"batchSize": "big"}}}', "batchSize of 'm' version '1.0' must be"),
        ('models={"m": {"1.0": {"minWorkers": true}}}', "minWorkers of 'm' version '1.0' must be"),
        ("model_snapshot=[]", "expected a JSON object"),
        ("model_snapshot={}", "a snapshot needs an object models"),
        ('model_snapshot={"models": {"m": {"1.0": {}}}}', "m 1.0: marName"),
        ("health_route=ping", "expected a path that begins with a slash"),
        ("predict_route=/m/{model}", "expected a path that begins with a slash"),
        ("service_envelope=kserve2", "expected one of base, body, json, kserve, kservev2"),
    ],
)
def test_a_wrong_value_is_a_problem_that_names_the_property(line, complaint):
    (problem,) = problems_of(line)

    assert problem.startswith(line.partition("=")[0])
    assert complaint in problem


def test_all_problems_are_reported_together():
    found = problems_of("job_queue_size=x\nmax_request_size=y\ncors_allowed_origin=$$NOWHERE$$")

    assert len(found) == 3


def test_a_problem_says_where_the_value_comes_from():
    (problem,) = problems_of("enable_envvars_config=true", {"TS_JOB_QUEUE_SIZE": "x"})

    assert problem.startswith("TS_JOB_QUEUE_SIZE=x (environment): ")


def test_a_wrong_escape_in_the_file_is_a_problem():
    (problem,) = problems_of("model_store=C:\\users")

    assert "wrong escape" in problem


def test_a_setting_that_does_not_exist_cannot_be_overridden():
    assert problems_of(queue="1") == ("queue: there is no such setting.",)


def test_a_long_value_is_not_repeated_in_full():
    (problem,) = problems_of("models={" + "x" * 1000)

    assert len(problem) < 250


def test_the_password_is_not_in_the_repr():
    assert "geheim" not in repr(load("keystore_pass=geheim"))


# -- what is kept for others


def test_numbers_in_quotes_count_in_models():
    config = load('models={"m": {"1.0": {"batchSize": "4", "maxBatchDelay": 0, "x": []}}}')

    assert config.models == {"m": {"1.0": {"batchSize": 4, "maxBatchDelay": 0, "x": []}}}


def test_a_switch_that_is_neither_true_nor_false_is_off_and_reported():
    config = load("enable_model_api=yes\ndebug=FALSE")

    assert not config.enable_model_api
    assert config.warnings == (
        "enable_model_api=yes (file): only true switches it on; this counts as false.",
    )


def test_the_texts_are_those_of_the_values_that_count():
    config = load(
        "enable_envvars_config=true\njob_queue_size=5\nworkflow_store=$$W$$\ndebug=",
        {"TS_JOB_QUEUE_SIZE": " 6 ", "W": "/w"},
        model_store=Path("/m"),
        enable_model_api=True,
    )

    assert config.texts == {
        "enable_envvars_config": "true",
        "job_queue_size": "6",
        "workflow_store": "/w",
        "model_store": "/m",
        "enable_model_api": "true",
    }


def test_what_is_known_about_the_file_is_kept():
    notes = ConfigNotes(file=Path("/c"), snapshot_file=Path("/s"), warnings=("w",))

    config = ServerConfig.load("unknown=1", {}, {}, notes=notes)

    assert (config.file, config.snapshot_file) == (Path("/c"), Path("/s"))
    assert config.warnings == ("w", "Unknown properties are not used: unknown.")


def test_models_of_the_command_line_beside_a_snapshot_are_not_used_and_that_is_said():
    config = load('model_snapshot={"models": {}}', load_models="a.mar")

    assert config.warnings == (
        "model_snapshot of the file says what to load; --models is not used.",
    )


# -- the reference page


def test_the_reference_page_is_up_to_date():
    script = ROOT / "scripts" / "generate_config_docs.py"
    spec = importlib.util.spec_from_file_location("generate_config_docs", script)
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)

    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == generator.page(), (
        "run scripts/generate_config_docs.py"
    )


def test_tokens_are_on_and_env_beats_the_command_line_beats_the_file():
    def is_off(text="", environ=None, **overrides):
        config = ServerConfig.load(text, environ or {}, overrides)
        return config.disable_token_authorization

    on_file, off_file = (f"disable_token_authorization={value}\n" for value in ("false", "true"))
    on_env, off_env = ({"TS_DISABLE_TOKEN_AUTHORIZATION": value} for value in ("false", "true"))
    allowed = "enable_envvars_config=true\n"

    assert not is_off()
    assert is_off(off_file)
    assert is_off(on_file, disable_token_authorization=True)
    assert is_off(allowed + on_file, off_env)
    assert not is_off(allowed + off_file, on_env, disable_token_authorization=True)
    assert not is_off(on_file, off_env)


@pytest.mark.parametrize("key", ["short", "with a blank in it", "x" * 1025, "ümlaut-ümlaut-ümlaut"])
def test_a_fixed_key_that_is_no_good_is_refused_and_not_repeated(key):
    with pytest.raises(ConfigError, match="TSL_INFERENCE_KEY") as caught:
        ServerConfig.load("", {"TSL_INFERENCE_KEY": key}, {})

    assert key not in str(caught.value)


def test_secrets_do_not_go_to_workers():
    environ = {"TSL_API_KEY": "a", "TS_KEYSTORE_PASS": "b", "TSL_KEYS_FILE": "c", "PATH": "d"}

    assert without_secrets(environ) == {"TSL_KEYS_FILE": "c", "PATH": "d"}


def test_every_secret_setting_is_known_to_be_one_before_settings_are_imported():
    declared = {
        name
        for setting in SETTINGS.values()
        if setting.secret
        for name in (setting.env_name, *setting.always_env)
    }

    assert declared - {""} == SECRET_VARIABLES
