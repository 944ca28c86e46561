import dataclasses

import pytest
import yaml

from tsl.model_store.config import ModelConfig, ServerDefaults, merge_config
from tsl.model_store.parallel import Torchrun
from tsl.model_store.request import RegistrationRequest
from tsl.protocol.errors import InvalidArchive

DEFAULTS = ServerDefaults(
    workers=2, startup_workers=3, response_timeout_s=11, startup_timeout_s=12, job_queue_size=77
)


def merge(document=None, *, models=None, defaults=DEFAULTS, text=None, **request):
    if document is not None:
        text = yaml.safe_dump(document, sort_keys=False).encode()
    config, warnings = merge_config(
        text, models, RegistrationRequest(url="m.mar", **request), defaults
    )
    return config, warnings


def test_nothing_given_means_the_defaults():
    config, warnings = merge()

    assert config == ModelConfig(
        min_workers=2,
        max_workers=2,
        response_timeout_s=11,
        startup_timeout_s=12,
        job_queue_size=77,
    )
    assert warnings == []


def test_a_snapshot_beats_everything():
    config, _ = merge(
        {"minWorkers": 1, "maxWorkers": 4, "batchSize": 8, "responseTimeout": 61},
        models={"maxBatchDelay": 9},
        batch_size=7,
        restored={"min_workers": 0, "max_workers": 2, "batch_size": 3, "response_timeout_s": 5},
    )

    assert (config.min_workers, config.max_workers, config.batch_size) == (0, 2, 3)
    assert (config.response_timeout_s, config.startup_timeout_s) == (5, 12)
    assert config.max_batch_delay_ms == 9


def test_every_key_of_the_file_is_read():
    document = {
        "minWorkers": 1,
        "maxWorkers": 4,
        "batchSize": 8,
        "maxBatchDelay": 120,
        "batchPolicy": "eager",
        "responseTimeout": 61,
        "startupTimeout": 62,
        "maxRetryTimeoutInSec": 63,
        "clientTimeoutInMills": 64,
        "jobQueueSize": 65,
        "jobQueueBytes": 66,
        "deviceType": "gpu",
        "deviceIds": [1, 0],
        "parallelType": "tp",
        "parallelLevel": 2,
        "torchrun": {"nnodes": 1},
        "useJobTicket": True,
        "continuousBatching": True,
        "sequenceBatching": True,
        "sequenceMaxIdleMSec": 15_000,
        "sequenceTimeoutMSec": 16_000,
        "maxNumSequence": 4,
        "maxSequenceJobQueueSize": 10,
        "asyncCommunication": True,
        "useVenv": True,
        "workerStart": "spawn",
        "shareModel": False,
        "handler": {"threshold": 0.5},
    }

    config, warnings = merge(document)

    assert warnings == []
    assert config == ModelConfig(
        min_workers=1,
        max_workers=4,
        batch_size=8,
        max_batch_delay_ms=120,
        batch_policy="eager",
        response_timeout_s=61,
        startup_timeout_s=62,
        max_retry_timeout_s=63,
        client_timeout_ms=64,
        job_queue_size=65,
        job_queue_bytes=66,
        device_type="gpu",
        device_ids=(1, 0),
        parallel_type="tp",
        parallel_level=2,
        torchrun=Torchrun(),
        use_job_ticket=True,
        continuous_batching=True,
        sequence_batching=True,
        sequence_max_idle_ms=15_000,
        sequence_timeout_ms=16_000,
        max_num_sequence=4,
        max_sequence_job_queue_size=10,
        async_communication=True,
        use_venv=True,
        worker_start="spawn",
        share_model=False,
        yaml=document,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(None, {}, id="no file"),
        pytest.param(b"", None, id="empty file"),
        pytest.param(b"free: text", {"free": "text"}, id="keys of the handler"),
    ],
)
def test_the_handler_gets_the_whole_file(text, expected):
    assert merge(text=text)[0].yaml == expected


def test_a_file_that_is_no_yaml_is_refused():
    with pytest.raises(InvalidArchive):
        merge(text=b"a: [1, 2\nb: }\n")


@pytest.mark.parametrize(
    ("document", "models", "request_values", "expected"),
    [
        pytest.param(None, None, {}, (1, 100), id="defaults"),
        pytest.param(None, {"batchSize": 3, "maxBatchDelay": 30}, {}, (3, 30), id="server"),
        pytest.param(
            {"batchSize": 4, "maxBatchDelay": 40},
            {"batchSize": 3, "maxBatchDelay": 30},
            {},
            (4, 40),
            id="file before server",
        ),
        pytest.param(
            {"batchSize": 4, "maxBatchDelay": 40},
            {"batchSize": 3, "maxBatchDelay": 30},
            {"batch_size": 5, "max_batch_delay_ms": 50},
            (5, 50),
            id="request before file",
        ),
        pytest.param(
            {"batchSize": 4, "maxBatchDelay": 40},
            None,
            {"batch_size": -1, "max_batch_delay_ms": -100},
            (4, 40),
            id="numbers for not given",
        ),
        pytest.param(
            None, None, {"max_batch_delay_ms": -10_000}, (1, 100), id="delay of a JSON body"
        ),
        pytest.param(None, None, {"batch_size": 0}, (1, 100), id="size 0 in the request"),
        pytest.param(None, None, {"max_batch_delay_ms": 0}, (1, 0), id="delay 0 in the request"),
        pytest.param({"batchSize": 0, "maxBatchDelay": 0}, None, {}, (1, 100), id="0 in the file"),
        pytest.param({"batchSize": -7}, {"batchSize": 3}, {}, (1, 100), id="size below 1"),
        pytest.param({"batchSize": "big", "maxBatchDelay": -1}, None, {}, (1, 100), id="wrong"),
        pytest.param({"batchSize": True}, None, {}, (1, 100), id="true is no number"),
    ],
)
def test_batch_settings(document, models, request_values, expected):
    config, _ = merge(document, models=models, **request_values)

    assert (config.batch_size, config.max_batch_delay_ms) == expected


def test_a_negative_delay_is_none_at_all():
    config, warnings = merge(max_batch_delay_ms=-5)

    assert config.max_batch_delay_ms == 0
    assert "max_batch_delay" in warnings[0]


@pytest.mark.parametrize("key", ["response", "startup"])
@pytest.mark.parametrize(
    ("stated", "server", "asked", "expected"),
    [
        pytest.param(None, None, None, "default", id="default"),
        pytest.param(None, None, 33, 33, id="request"),
        pytest.param(None, 22, 33, 22, id="server before request"),
        pytest.param(44, 22, 33, 44, id="file before server"),
        pytest.param(None, None, -1, "default", id="number for not given"),
        pytest.param(None, None, 0, "default", id="0 in the request"),
        pytest.param(0, None, 33, 33, id="0 in the file"),
        pytest.param(-4, None, None, "default", id="negative in the file"),
        pytest.param("long", 22, None, 22, id="text in the file"),
    ],
)
def test_timeouts(key, stated, server, asked, expected):
    document = {"other": 1} if stated is None else {f"{key}Timeout": stated}
    models = None if server is None else {f"{key}Timeout": server}

    config, _ = merge(document, models=models, **{f"{key}_timeout_s": asked})

    default = {"response": 11, "startup": 12}[key]
    assert getattr(config, f"{key}_timeout_s") == (default if expected == "default" else expected)


@pytest.mark.parametrize(
    ("document", "request_values", "expected"),
    [
        pytest.param(None, {}, (2, 2), id="default"),
        pytest.param(None, {"initial_workers": 5}, (5, 5), id="request"),
        pytest.param(None, {"initial_workers": 0}, (0, 0), id="none"),
        pytest.param(None, {"initial_workers": -3}, (0, 0), id="negative"),
        pytest.param({"minWorkers": 1, "maxWorkers": 4}, {"initial_workers": 5}, (1, 4), id="pair"),
        pytest.param({"minWorkers": 0, "maxWorkers": 4}, {}, (1, 4), id="0 counts as 1"),
        pytest.param({"minWorkers": -2, "maxWorkers": 4}, {}, (1, 4), id="negative counts as 1"),
        pytest.param({"minWorkers": 3, "maxWorkers": 1}, {"initial_workers": 1}, (1, 1), id="swap"),
        pytest.param({"minWorkers": 3}, {}, (2, 2), id="only the minimum"),
        pytest.param({"maxWorkers": 3}, {}, (2, 2), id="only the maximum"),
        pytest.param({"minWorkers": "one", "maxWorkers": [1]}, {}, (2, 2), id="wrong types"),
    ],
)
def test_workers_of_a_registration(document, request_values, expected):
    """What the server's ``models`` setting says about workers is for start-up only."""
    config, _ = merge(document, models={"minWorkers": 8, "maxWorkers": 9}, **request_values)

    assert (config.min_workers, config.max_workers) == expected


@pytest.mark.parametrize(
    ("document", "models", "expected"),
    [
        pytest.param(None, None, (3, 3), id="default"),
        pytest.param(None, {"minWorkers": 1, "maxWorkers": 8}, (1, 8), id="server"),
        pytest.param(None, {"minWorkers": 1}, (1, 3), id="server's minimum"),
        pytest.param(None, {"minWorkers": 5}, (5, 5), id="server's minimum above the default"),
        pytest.param(None, {"minWorkers": 5, "maxWorkers": 1}, (5, 5), id="server's swapped"),
        pytest.param(
            {"minWorkers": 1, "maxWorkers": 4},
            {"minWorkers": 8, "maxWorkers": 9},
            (1, 4),
            id="file",
        ),
    ],
)
def test_workers_at_start(document, models, expected):
    config, _ = merge(document, models=models, loaded_at_startup=True)

    assert (config.min_workers, config.max_workers) == expected


def test_half_a_pair_of_workers_is_warned_about():
    _, warnings = merge({"minWorkers": 3})

    assert len(warnings) == 1
    assert "minWorkers" in warnings[0]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param({"parallelLevel": 2}, (None, 0), id="level without type"),
        pytest.param({"parallelType": "pp"}, ("pp", 0), id="type without level"),
        pytest.param({"parallelType": "xx", "parallelLevel": 2}, (None, 0), id="unknown type"),
        pytest.param(
            {"parallelType": "tp", "parallelLevel": 2, "torchrun": {"nproc-per-node": 4}},
            ("tp", 4),
            id="torchrun later",
        ),
        pytest.param(
            {"parallelType": "tp", "torchrun": {"nproc-per-node": 4}, "parallelLevel": 2},
            ("tp", 2),
            id="level later",
        ),
        pytest.param({"parallelType": "tp", "torchrun": [4]}, ("tp", 0), id="torchrun is a list"),
        pytest.param({"parallelType": "tp", "torchrun": {}}, ("tp", 1), id="torchrun alone"),
    ],
)
def test_parallel_settings(document, expected):
    config, _ = merge(document)

    assert (config.parallel_type, config.parallel_level) == expected


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param({"maxNumSequence": 4}, (False, 0, 0, 0, 0), id="nothing without idle time"),
        pytest.param({"sequenceMaxIdleMSec": 9}, (False, 9, 0, 1, 1), id="idle time alone"),
        pytest.param({"sequenceBatching": True}, (True, 60_000, 0, 1, 1), id="batching alone"),
        pytest.param(
            {"sequenceBatching": True, "sequenceMaxIdleMSec": 9, "maxNumSequence": 0},
            (True, 9, 0, 1, 1),
            id="no sequence at all",
        ),
    ],
)
def test_sequence_settings(document, expected):
    config, _ = merge(document)

    assert (
        config.sequence_batching,
        config.sequence_max_idle_ms,
        config.sequence_timeout_ms,
        config.max_num_sequence,
        config.max_sequence_job_queue_size,
    ) == expected


def test_sequences_without_idle_time_are_warned_about():
    assert "sequenceMaxIdleMSec" in merge({"sequenceBatching": True})[1][0]


def test_zero_turns_restarts_off():
    assert merge({"maxRetryTimeoutInSec": 0})[0].max_retry_timeout_s == 0


@pytest.mark.parametrize(
    "document",
    [
        {"jobQueueSize": -2},
        {"jobQueueSize": 0},
        {"jobQueueBytes": "much"},
        {"deviceType": "tpu"},
        {"deviceIds": [0, "1"]},
        {"batchPolicy": "lazy"},
        {"workerStart": "thread"},
        {"shareModel": 1},
        {"useVenv": "yes please"},
        {"maxRetryTimeoutInSec": True},
        {"clientTimeoutInMills": 0.5},
    ],
    ids=str,
)
def test_wrong_values_are_passed_over(document):
    config, warnings = merge(document)
    plain, _ = merge({"other": 1})

    assert {name: getattr(config, name) for name in config.__slots__ if name != "yaml"} == {
        name: getattr(plain, name) for name in plain.__slots__ if name != "yaml"
    }
    assert len(warnings) == (document != {"jobQueueSize": 0})


@pytest.mark.parametrize(
    ("document", "models", "asked", "server", "expected"),
    [
        ({}, None, None, "window", "window"),
        ({}, None, None, "learned", "learned"),
        ({}, {"batchPolicy": "eager"}, None, "learned", "eager"),
        ({"batchPolicy": "window"}, {"batchPolicy": "eager"}, None, "learned", "window"),
        ({"batchPolicy": "window"}, {"batchPolicy": "eager"}, "learned", "eager", "learned"),
    ],
    ids=["nobody", "server", "models", "archive", "request"],
)
def test_who_decides_about_the_batch_policy(document, models, asked, server, expected):
    defaults = dataclasses.replace(DEFAULTS, batch_policy=server)

    config, _ = merge(document, models=models, defaults=defaults, batch_policy=asked)

    assert config.batch_policy == expected
