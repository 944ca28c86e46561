"""Tokenizers and n-grams."""

from __future__ import annotations

import pytest

from tsl.backend.text import get_tokenizer, ngram_count, ngrams_iterator


@pytest.mark.parametrize("ngrams", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_ngrams_are_counted_as_they_come(count, ngrams):
    tokens = [str(number) for number in range(count)]

    assert len(list(ngrams_iterator(tokens, ngrams))) == ngram_count(count, ngrams)


def test_all_words_come_before_the_pairs():
    assert list(ngrams_iterator(["a", "b", "c"], 2)) == ["a", "b", "c", "a b", "b c"]


@pytest.mark.parametrize(
    ("line", "tokens"),
    [
        ("Hello, World!", ["hello", ",", "world", "!"]),
        ("it's (fine).", ["it", "'", "s", "(", "fine", ")", "."]),
        ('say "hi"<br />now; then: ok?', ["say", "hi", "now", "then", "ok", "?"]),
        ("", []),
    ],
)
def test_basic_english(line, tokens):
    assert get_tokenizer("basic_english")(line) == tokens


def test_without_a_name_text_is_split_at_blanks():
    assert get_tokenizer(None)("A b") == ["A", "b"]


@pytest.mark.parametrize(("name", "language"), [("spacy", "en"), ("basic_english", "de")])
def test_unknown_tokenizers_are_refused(name, language):
    with pytest.raises(ValueError, match="there is no tokenizer"):
        get_tokenizer(name, language)
