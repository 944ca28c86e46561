"""Text handlers: cleaning, numbering, batches, explanations; and the tensor handler."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from tsl.backend.handlers.contractions import expand_contractions
from tsl.backend.handlers.densenet_handler import DenseNetHandler
from tsl.backend.handlers.text_classifier import TextClassifier
from tsl.backend.handlers.text_explanations import attribute_grams, share_among_words
from tsl.backend.handlers.word_map import MAX_DRAWN_WORDS, ExplainedText, to_text_page
from tsl.backend.regroup import Regroup
from tsl.backend.rows import RequestRow
from tsl.protocol.errors import HandlerFailed, InvalidInput, Unsupported


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


# -- explanations that are to be looked at ---------------------------------------------------------


class Words(Bag):
    """A classifier with one embedding for each word, as sentences of others have."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(10, 4)

    def forward(self, text, offsets):
        return self.fc(self.embedding(text).mean(dim=0, keepdim=True))


class Asked:
    """A context that knows what each request accepts."""

    model_name = "m"
    metrics = None

    def __init__(self, *headers):
        self.headers = [{"explain": "True", **each} for each in headers]
        self.content_types = {}
        self.response_headers = {}

    def get_request_header(self, row, name):
        return self.headers[row].get(name)

    def get_all_request_header(self, row):
        return self.headers[row]

    def set_response_content_type(self, row, value):
        self.content_types[row] = value

    def set_response_header(self, row, name, value):
        self.response_headers[row] = {name: value}


def rows_of(*texts, **fields):
    return [RequestRow(data=text, **fields) for text in texts]


@pytest.mark.parametrize("mode", ["mean", "sum"])
def test_shares_of_words_add_up_to_what_the_text_adds_to_the_score(handler, mode):
    handler.model.embedding.mode = mode
    numbers, words = handler.preprocess([{"data": "good day bad"}])

    shares, figures = attribute_grams(handler, numbers, 1)

    with torch.no_grad():
        score = handler.model(numbers, torch.zeros(1, dtype=torch.long))[0, 1]
        zero = handler.model(torch.zeros_like(numbers), torch.zeros(1, dtype=torch.long))[0, 1]
    assert shares.sum().item() == pytest.approx((score - zero).item(), abs=1e-5)
    assert abs(figures["convergence delta"]) < 1e-5
    relevance = share_among_words(shares.tolist(), len(words), handler.ngrams)
    assert sum(relevance) == pytest.approx(shares.sum().item(), abs=1e-5)


def test_a_pair_of_words_is_shared_equally():
    # good, day, bad, "good day", "day bad"
    assert share_among_words([1.0, 2.0, 3.0, 4.0, 6.0], 3, 2) == [3.0, 7.0, 6.0]


def test_a_model_with_one_embedding_for_each_word_is_explained_too(handler):
    handler.model, handler.ngrams = Words().eval(), 1
    numbers, _ = handler.preprocess([{"data": "good bad"}])

    shares, figures = attribute_grams(handler, numbers, 0)

    assert shares.shape == (2,)
    assert abs(figures["convergence delta"]) < 1e-5


def test_a_picture_shows_the_words(handler):
    context = Asked({"Accept": "image/png"})

    (answer,) = handler.handle(rows_of("good day bad " * 30), context)

    picture = Image.open(io.BytesIO(answer))
    assert context.content_types == {0: "image/png"}
    assert picture.width > 600
    assert picture.height > 100  # several lines
    assert len(picture.getcolors(10_000)) > 20  # words on coloured ground


def test_a_page_names_words_class_and_figures_and_escapes_them(handler):
    handler.mapping = {"0": "no", "1": "<yes>"}
    handler.get_word_token = lambda words: [f"<{word}>" for word in words]
    context = Asked({"url_query": "format=html"})

    (answer,) = handler.handle(rows_of("good day", target="<YES>"), context)

    page = answer.decode()
    assert context.content_types == {0: "text/html; charset=utf-8"}
    assert "default-src 'none'" in context.response_headers[0]["content-security-policy"]
    assert "Why “&lt;yes&gt;”?" in page
    assert "&lt;good&gt;</mark>" in page
    assert "convergence delta" in page
    assert "<good>" not in page
    assert "<script" not in page


def test_rows_of_a_batch_get_what_each_asks_for(handler):
    context = Asked({}, {"Accept": "image/png"}, {"Accept": "text/html"})

    answers = handler.handle(rows_of("good", "day", "bad"), context)

    assert set(answers[0]) == {"words", "importances"}
    assert answers[1].startswith(b"\x89PNG")
    assert answers[2].startswith(b"<!DOCTYPE html>")
    assert context.content_types == {1: "image/png", 2: "text/html; charset=utf-8"}


@pytest.mark.parametrize(
    ("text", "fields", "headers", "word"),
    [
        ("", {}, {"Accept": "image/png"}, "no words"),
        ("good", {"target": "7"}, {"Accept": "image/png"}, "no class 7"),
        ("good", {"target": "none"}, {"Accept": "image/png"}, "no class 'none'"),
        ("good", {}, {"url_query": "format=svg"}, "no format"),
    ],
)
def test_what_cannot_be_shown_is_refused(handler, text, fields, headers, word):
    with pytest.raises(InvalidInput, match=word):
        handler.handle(rows_of(text, **fields), Asked(headers))


def test_of_several_rows_only_the_bad_one_is_refused(handler):
    context = Asked({"Accept": "image/png"}, {"Accept": "image/png"})

    with pytest.raises(Regroup) as caught:
        handler.handle(rows_of("good", ""), context)

    assert caught.value.groups == [[0]]


@pytest.mark.parametrize("change", ["no embedding", "maximum", "a function"])
def test_a_model_that_cannot_be_explained_says_so(handler, change):
    if change == "maximum":
        handler.model.embedding.mode = "max"
    elif change == "a function":
        handler.model.forward = lambda text, offsets: torch.ones(1, 2)
    else:
        handler.model.other, handler.model.embedding = handler.model.embedding, None
        handler.model.forward = lambda text, offsets: torch.ones(1, 2)

    with pytest.raises(Unsupported):
        handler.handle(rows_of("good"), Asked({"Accept": "image/png"}))


def test_a_long_text_is_cut_in_the_picture_and_whole_on_the_page():
    words = [f"w{number}" for number in range(MAX_DRAWN_WORDS + 5)]
    text = ExplainedText(words, [1.0] * len(words), "x")

    assert text.draw().height < 100 * 1000
    assert f">w{MAX_DRAWN_WORDS + 4}</mark>" in to_text_page("m", text).decode()
