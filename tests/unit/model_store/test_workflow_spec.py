from __future__ import annotations

import pytest

from tsl.model_store.workflow_spec import NodeSettings, WorkflowSpec
from tsl.protocol.errors import TslError
from tsl.protocol.workflow_errors import InvalidDag, InvalidWorkflow

FAN = """
models:
  min-workers: 1
  max-workers: 2
  batch-size: 4
  max-batch-delay: 10
  m1:
    url: m1.mar
    max-workers: 3
  retry-attempts: 5
  timeout-ms: 700
  m2:
    url: https://host/m2.mar
    batch-size: 2
dag:
  pre: [m1, m2]
  m1: [agg]
  m2: [agg]
"""


def parse(text):
    return WorkflowSpec.parse(text.encode())


def test_a_graph_has_one_start_its_leaves_and_the_order_of_the_file():
    spec = parse(FAN)

    assert list(spec.nodes) == ["pre", "m1", "m2", "agg"]
    assert spec.start == "pre"
    assert spec.leaves == ("agg",)
    assert spec.nodes["agg"].predecessors == ("m1", "m2")
    assert spec.nodes["pre"].successors == ("m1", "m2")
    assert spec.dag == {"pre": ("m1", "m2"), "m1": ("agg",), "m2": ("agg",)}


def test_a_node_that_is_no_model_is_a_function():
    spec = parse(FAN)

    assert spec.functions == ("pre", "agg")
    assert [spec.nodes[name].url for name in ("m1", "m2")] == ["m1.mar", "https://host/m2.mar"]


def test_defaults_hold_for_the_models_below_them():
    spec = parse(FAN)

    assert spec.nodes["m1"].settings == NodeSettings(
        min_workers=1, max_workers=3, batch_size=4, max_batch_delay_ms=10
    )
    assert spec.nodes["m2"].settings == NodeSettings(
        max_workers=2, batch_size=2, max_batch_delay_ms=10, retry_attempts=5, timeout_ms=700
    )
    assert spec.settings.batch_size == 4


def test_functions_run_alone_with_the_retries_and_the_time_limit_of_the_file():
    settings = parse(FAN).nodes["agg"].settings

    assert settings == NodeSettings(
        max_workers=1, batch_size=1, max_batch_delay_ms=0, retry_attempts=5, timeout_ms=700
    )


@pytest.mark.parametrize("models", ["", "models:\n", "models: {}\n"])
@pytest.mark.parametrize("successors", ["", "[]", "['']"])
def test_one_function_is_a_workflow(models, successors):
    spec = parse(f"{models}dag:\n  only: {successors}\n")

    assert (spec.start, spec.leaves) == ("only", ("only",))
    assert spec.settings == NodeSettings()


@pytest.mark.parametrize(
    ("dag", "words"),
    [
        ("a: [a]", ["Self loop", "'a'"]),
        ("a: [b]\n  b: [a]", ["a → b → a"]),
        ("s: [a]\n  a: [b]\n  b: [c]\n  c: [a]", ["a → b → c → a"]),
        ("a: [c]\n  b: [c]", ["only one start node", "a, b"]),
        ("a: [b, b]", ["'b' more than once", "'a'"]),
        ("a: b", ["no list of nodes after 'a'", "'b'"]),
        ("a: {b: c}", ["no list of nodes after 'a'"]),
    ],
)
def test_a_graph_that_cannot_be_run_is_refused_with_the_names_of_its_nodes(dag, words):
    with pytest.raises(InvalidDag) as caught:
        parse(f"dag:\n  {dag}\n")

    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("text", ["", "models: {}", "dag:", "dag: {}", "dag: [a]", "dag: a"])
def test_a_file_without_a_graph_is_refused(text):
    with pytest.raises(InvalidDag, match="dag"):
        parse(text)


def test_a_graph_has_a_bounded_number_of_nodes():
    names = ", ".join(f"n{number}" for number in range(300))

    with pytest.raises(InvalidDag, match="256"):
        parse(f"dag:\n  a: [{names}]\n")


@pytest.mark.parametrize(
    ("models", "words"),
    [
        ("batch-size: x", ["batch-size in models", "'x'"]),
        ("batch-size: 0", ["batch-size", "from 1"]),
        ("max-workers: true", ["max-workers", "True"]),
        ("max-workers: 99999", ["max-workers", "to 1024"]),
        ("retry-attempts: -1", ["retry-attempts", "-1"]),
        ("timeout-ms: 1.5", ["timeout-ms", "1.5"]),
        ("m: {url: m.mar, timeout-ms: 0}", ["timeout-ms in models.m"]),
        ("m: {batch-size: 1}", ["models.m", "no url"]),
        ("m: {url: [m.mar]}", ["models.m", "no url"]),
        ("m: m.mar", ['"m"', "neither a setting nor a model"]),
        ("1: {url: m.mar}", ["1 in models", "quotes"]),
        ("a/b: {url: m.mar}", ["slash"]),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(models, words):
    with pytest.raises(InvalidWorkflow) as caught:
        parse(f"models:\n  {models}\ndag:\n  m: []\n")

    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("text", ["a: [", "- a", "x", "models: 3\ndag: {a: []}", "dag: {a: [[b]]}"])
def test_what_is_no_specification_is_refused(text):
    with pytest.raises(TslError) as caught:
        parse(text)

    assert isinstance(caught.value, InvalidWorkflow | InvalidDag)


def test_what_was_probably_not_meant_is_told():
    spec = parse(
        "models:\n  m: {url: m.mar, batch_size: 4, min-workers: 2}\n  spare: {url: s.mar}\n"
        "dag:\n  m: []\n"
    )

    warnings = "\n".join(spec.warnings)
    assert "models.m has the key 'batch_size'" in warnings
    assert "min-workers 2" in warnings
    assert "'spare' is not in the dag" in warnings


def test_a_model_that_is_not_in_the_graph_may_be_incomplete():
    assert list(parse("models:\n  m: {}\ndag:\n  f: []\n").nodes) == ["f"]
