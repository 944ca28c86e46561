"""The ``torchrun`` section: what is read, and what cannot be."""

import pytest

from tsl.model_store.parallel import Torchrun, parallel_settings
from tsl.model_store.typed_values import TypedValues
from tsl.protocol.errors import InvalidArchive


def read(**section):
    warnings = []
    document = {"parallelType": "tp", "torchrun": section}
    values = TypedValues(document, "m.yaml", warnings)
    return parallel_settings(values, document, "m.yaml", warnings)["torchrun"], warnings


def test_without_a_section_there_is_nothing():
    settings = parallel_settings(TypedValues({}, "m.yaml", []), {}, "m.yaml", [])

    assert settings == {"parallel_type": None, "parallel_level": 0, "torchrun": None}


def test_all_options_of_one_machine():
    options = {
        "nnodes": 1, "nproc-per-node": 4, "rdzv-backend": "c10d", "rdzv-endpoint": "h:1",
        "rdzv-conf": "timeout=900", "monitor-interval": 5, "node-rank": 0, "rdzv-id": "job",
        "OMP_NUMBER_THREADS": 2, "master-addr": "h", "master-port": 2,
    }  # fmt: skip

    assert read(**options) == (Torchrun(rdzv_id="job", omp_threads=2), [])


@pytest.mark.parametrize(
    ("options", "master"),
    [
        ({"rdzv-endpoint": "10.0.0.1:29401"}, "10.0.0.1:29401"),
        ({"rdzv-endpoint": "node0"}, "node0:29400"),
        ({"rdzv-endpoint": "[::1]:29401"}, "[::1]:29401"),
        ({"master-addr": "node0", "master-port": 29500}, "node0:29500"),
    ],
)
def test_several_machines_meet_at_a_place(options, master):
    torchrun, _ = read(**{"nnodes": 2, "node-rank": 1, **options})

    assert torchrun == Torchrun(nnodes=2, node_rank=1, master=master)


@pytest.mark.parametrize(
    "options",
    [
        {"nnodes": 2},
        {"nnodes": 2, "master-addr": "node0"},
        {"nnodes": 2, "rdzv-endpoint": "node0:x"},
        {"nnodes": 2, "rdzv-endpoint": "node0:70000"},
        {"nnodes": 2, "rdzv-endpoint": ":29400"},
        {"nnodes": 2, "node-rank": 2, "rdzv-endpoint": "node0"},
        {"node-rank": 1},
    ],
)
def test_machines_that_cannot_meet(options):
    with pytest.raises(InvalidArchive, match=r"torchrun in m\.yaml"):
        read(**options)


@pytest.mark.parametrize(
    "options",
    [{"nnodes": "1:2"}, {"OMP_NUMBER_THREADS": 0}, {"rdzv-id": 7}, {"nproc-per-node": "gpu"}],
)
def test_a_value_of_the_wrong_type_is_ignored_with_a_warning(options):
    torchrun, warnings = read(**options)

    assert torchrun == Torchrun()
    assert next(iter(options)) in warnings[0]
