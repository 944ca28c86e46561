"""Text handlers: cleaning, numbering, batches, explanations; and the tensor handler."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
import torch

from tsl.backend.handlers.contractions import expand_contractions
from tsl.backend.handlers.densenet_handler import DenseNetHandler
from tsl.backend.handlers.text_classifier import TextClassifier
from tsl.backend.regroup import Regroup
from tsl.protocol.errors import HandlerFailed, InvalidInput


class Bag(torch.nn.Module):
    """A text classifier with two classes."""

    def __init__(self, words=10):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = torch.nn.EmbeddingBag(words, 4)
        self.fc = torch.nn.Linear(4, 2)

    def forward(self, text, offsets):
        return self.fc(self.embedding(text, offsets))


@pytest.fixture
def handler():
    classifier = TextClassifier()
    classifier.device = torch.device("cpu")
    classifier.model = Bag().eval()
    grams = ["<unk>", "good", "day", "good day", "bad"]
    classifier.source_vocab = {gram: number for number, gram in enumerate(grams)}
    return classifier


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I can't, won't", "I cannot, will not"),
        ("ain't", "as not"),
        ("'cause", "ecause"),
        ("can't've", "cannotve"),
        ("y'all'd", "you alld"),
        ("Beatriche's", "Beatriche is"),
        ("She's HADN'T", "She is Had not"),
        ("shan't sha'n't", "shall not shall not"),
        ("the dog's", "the dogs"),
    ],
)
def test_contractions(text, expected):
    assert expand_contractions(text).lower() == expected.lower()


def test_text_is_cleaned_split_and_numbered(handler):
    numbers, tokens = handler.preprocess([{"body": bytearray("<b>Góod</b> dáy!".encode())}])

    assert tokens == ["good", "day"]
    assert numbers.tolist() == [1, 2, 3]


def test_unknown_words_are_an_error_unless_the_vocabulary_has_a_number_for_them(handler):
    assert handler.preprocess([{"data": "new"}])[0].tolist() == [0]

    del handler.source_vocab["<unk>"]
    with pytest.raises(HandlerFailed, match="no number for 'new'"):
        handler.preprocess([{"data": "new"}])


def test_rows_of_a_batch_get_what_they_get_alone(handler):
    rows = [{"data": "good day"}, {"data": "bad"}, {"data": "day"}]

    batch = handler.inference(handler.preprocess(rows))

    for index, row in enumerate(rows):
        alone = handler.inference(handler.preprocess([row]))
        torch.testing.assert_close(batch[index : index + 1], alone)


def test_a_row_that_cannot_be_numbered_fails_alone(handler):
    del handler.source_vocab["<unk>"]
    rows = [{"data": "good"}, {"body": b"\xff"}, {"data": "new"}, {"body": {"data": "bad"}}]

    with pytest.raises(Regroup) as caught:
        handler.preprocess(rows)

    assert caught.value.groups == [[0, 3]]
    assert {row: type(error) for row, error in caught.value.refused.items()} == {
        1: InvalidInput,
        2: HandlerFailed,
    }


def test_all_classes_are_answered_in_their_order(handler):
    handler.mapping = {"0": "no", "1": "yes"}

    answer = handler.postprocess(torch.tensor([[0.0, 0.0]]))

    assert answer == [{"no": 0.5, "yes": 0.5}]


@pytest.mark.parametrize("body", [b"\xff", {"a": 1}, [1]], ids=repr)
def test_body_that_is_no_text_is_the_clients_mistake(handler, body):
    with pytest.raises(InvalidInput):
        handler.preprocess([{"body": body}])


def test_explanations_name_the_words_of_each_row(handler):
    rows = [{"data": "good day"}, {"data": "bad"}]

    insights = handler.get_insights(handler.preprocess(rows), None, [0, 1])

    assert [each["words"] for each in insights] == [["good", "day"], ["bad"]]
    alone = handler.get_insights(handler.preprocess(rows[1:]), None, 1)
    torch.testing.assert_close(
        torch.tensor(insights[1]["importances"]), torch.tensor(alone[0]["importances"])
    )


def test_numbers_are_those_of_torchserve(handler):
    """Recorded from TorchServe 0.12.0 with captum 0.9 for the same weights."""
    with torch.no_grad():
        handler.model.embedding.weight.copy_(torch.linspace(-1, 1, 40).sin().view(10, 4))
        handler.model.fc.weight.copy_(torch.linspace(-0.5, 0.5, 8).view(2, 4))
        handler.model.fc.bias.copy_(torch.tensor([0.1, -0.1]))

    prepared = handler.preprocess([{"body": bytearray("<b>Góod</b> dáy!".encode())}])
    (answer,) = handler.postprocess(handler.inference(prepared))
    (insight,) = handler.get_insights(prepared, None, 1)

    assert answer == pytest.approx({"0": 0.7865015268, "1": 0.2134985030}, abs=1e-6)
    (importances,) = insight["importances"]
    assert importances == pytest.approx(
        [0.2325511277, 0.2432196140, 0.2553179860, 0.2689112723], abs=1e-6
    )
    assert insight["words"] == ["good", "day"]


def test_vocabulary_is_read_from_the_archive(handler, tmp_path):
    context = SimpleNamespace(
        manifest={"model": {}}, system_properties={"model_dir": str(tmp_path)}
    )
    with pytest.raises(RuntimeError, match=r"source_vocab\.pt is missing"):
        handler.get_source_vocab_path(context)

    (tmp_path / "words.pt").touch()
    context.manifest["model"]["sourceVocab"] = "words.pt"
    assert handler.get_source_vocab_path(context) == str(tmp_path / "words.pt")


def test_word_marks_are_stripped(handler):
    assert handler.get_word_token(["Ġgood", "day"]) == ["good", "day"]


def saved(value):
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def test_tensors_go_in_and_out_row_by_row():
    handler = DenseNetHandler()
    handler.model, handler.device = torch.neg, "cpu"
    rows = [{"body": saved(torch.ones(2))}, {"data": bytearray(saved(torch.zeros(2)))}]

    answer = handler.handle(rows, SimpleNamespace(metrics=None))

    assert [tensor.tolist() for tensor in answer] == [[[-1.0, -1.0]], [[-0.0, -0.0]]]


def test_tensors_that_do_not_fit_together_are_called_apart():
    rows = [{"body": saved(torch.ones(size))} for size in (2, 3, 2)]

    with pytest.raises(Regroup) as caught:
        DenseNetHandler().preprocess([*rows, {"body": b"nonsense"}])
    assert set(caught.value.refused) == {3}

    with pytest.raises(Regroup) as caught:
        DenseNetHandler().preprocess(rows)
    assert caught.value.groups == [[0, 2], [1]]


class Evil:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(
    "body", [b"", b"nonsense", saved(Evil()), saved({"a": 1}), {"a": 1}], ids=range(5)
)
def test_what_is_no_tensor_is_refused_and_never_executed(body, capsys):
    with pytest.raises(InvalidInput):
        DenseNetHandler().preprocess([{"body": body}])

    assert "executed" not in capsys.readouterr().out
