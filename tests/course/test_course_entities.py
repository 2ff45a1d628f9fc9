"""The embedded named-entity sentences: form, labels, balance, parts, and the numbers of the card.

The file is read as it stands, without the library, so that these tests do not lean on its reader.
"""

import collections
import itertools
import re
import unicodedata
from pathlib import Path
from statistics import median

import pytest

DATA = Path(__file__).resolve().parents[2] / "rlhf_lib" / "data"
TYPES = ("PER", "LOC", "ORG", "MISC")
TRAIN = 180
ABBREVIATIONS = {"P.S.", "St."}
CALENDAR = """Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February March April
              June July August September October November December""".lower().split()
TITLES = {"mr", "mrs", "dr", "aunt", "captain", "coach", "detective", "empress", "queen"}


@pytest.fixture(scope="module")
def text():
    return (DATA / "course-entities.conll").read_bytes().decode("utf-8")


@pytest.fixture(scope="module")
def sentences(text):
    """Lists of (token, label)."""
    return [
        [tuple(line.split(" ")) for line in block.split("\n")]
        for block in text.removesuffix("\n").split("\n\n")
    ]


@pytest.fixture(scope="module")
def parts(sentences):
    return {"train": sentences[:TRAIN], "validation": sentences[TRAIN:], "all": sentences}


def entities(sentences):
    """(type, name) of every entity, in order; any label but B- and I- ends one."""
    found = []
    for sentence in sentences:
        for token, label in sentence:
            if label.startswith("B-"):
                found.append((label[2:], token))
            elif label.startswith("I-"):
                found[-1] = (found[-1][0], f"{found[-1][1]} {token}")
    return found


def test_two_columns_and_single_empty_lines(text):
    assert not text.startswith("\ufeff") and unicodedata.is_normalized("NFC", text)
    assert text.endswith("\n") and not text.endswith("\n\n") and "\n\n\n" not in text
    labels = {"O"} | {f"{place}-{kind}" for place in "BI" for kind in TYPES}
    for line in filter(None, text.removesuffix("\n").split("\n")):
        token, label = line.split(" ")
        assert token.isprintable() and token and label in labels, line


def test_inside_follows_a_label_of_its_own_type(sentences):
    for sentence in sentences:
        before = "O"
        for token, label in sentence:
            if label.startswith("I-"):
                assert before[1:] == label[1:], (token, before, label)
            before = label


def test_punctuation_stands_alone(sentences):
    tokens = {token for sentence in sentences for token, _ in sentence}
    for token in tokens - ABBREVIATIONS - {"'s"}:
        if any(c.isalnum() for c in token):
            assert token[0].isalnum() and token[-1].isalnum(), token
            assert not re.search(r"[;:!?()\"]", token), token
        else:
            assert len(token) == 1, token
    named = {
        token
        for sentence in sentences
        for token, label in sentence
        if token.endswith("'s") and token != "'s" and label == "O"
    }
    assert not named, "a possessive is a token of its own"


def test_punctuation_and_possessives_are_no_names(sentences):
    for token, label in itertools.chain.from_iterable(sentences):
        if token in {"'s", "'"} or not any(c.isalnum() for c in token):
            assert label == ("I-ORG" if token == "&" else "O"), (token, label)


def test_lengths_and_share_without_entities(sentences):
    lengths = [len(sentence) for sentence in sentences]
    assert len(sentences) >= 260 and min(lengths) >= 5 and max(lengths) <= 30
    assert sum(length >= 20 for length in lengths) >= 50
    without = [s for s in sentences if all(label == "O" for _, label in s)]
    assert 0.12 <= len(without) / len(sentences) <= 0.18


def test_types_are_balanced(parts):
    for part, least in (("train", 60), ("validation", 50), ("all", 90)):
        counts = collections.Counter(kind for kind, _ in entities(parts[part]))
        assert set(counts) == set(TYPES)
        assert min(counts.values()) >= least and max(counts.values()) <= 1.5 * min(counts.values())


def test_no_two_sentences_share_a_third_of_their_trigrams(sentences):
    words = [tuple(token.lower() for token, _ in sentence) for sentence in sentences]
    assert len(set(words)) == len(words)
    sets = [set(zip(w, w[1:], w[2:], strict=False)) for w in words]
    for a, b in itertools.combinations(sets, 2):
        assert len(a & b) <= min(len(a), len(b)) / 3, a & b


def test_validation_has_other_people_and_organizations_than_training(parts):
    def found(part):
        return {(kind, name.lower()) for kind, name in entities(parts[part])}

    def words_of_people(part):
        return {word for kind, name in found(part) if kind == "PER" for word in name.split()}

    assert found("train") & found("validation") == {
        ("LOC", "earth"),
        ("LOC", "washington"),
        ("MISC", "english"),
    }
    assert not words_of_people("train") & words_of_people("validation")


def test_some_words_change_their_type(sentences):
    seen = collections.defaultdict(set)
    for token, label in itertools.chain.from_iterable(sentences):
        seen[token.lower()].add(label.split("-")[-1])
    expected = {
        "washington": "PER LOC ORG",
        "jordan": "PER LOC ORG",
        "chelsea": "PER LOC ORG",
        "mercury": "PER LOC O",
        "apple": "ORG O",
        "may": "PER O",
        "turkey": "LOC O",
        "paris": "PER LOC",
        "hilton": "PER LOC",
        "amazon": "LOC ORG MISC",
        "georgia": "PER LOC",
        "reading": "LOC ORG O",
        "java": "LOC MISC",
        "jaguar": "MISC O",
        "julia": "PER MISC",
        "polish": "MISC O",
    }
    for word, types in expected.items():
        assert seen[word] >= set(types.split()), word


def test_two_names_of_one_type_can_touch(sentences):
    touching = [
        pair
        for s in sentences
        for pair in itertools.pairwise(label for _, label in s)
        if pair[0] != "O" and pair[1] == f"B-{pair[0][2:]}"
    ]
    assert touching


def test_calendar_and_titles_are_outside(sentences):
    for token, label in itertools.chain.from_iterable(sentences):
        if token.lower() in CALENDAR:
            assert label == "O", token
        if token.lower() in TITLES:
            assert label == "O", token


def test_a_capital_inside_a_sentence_is_a_name_or_a_known_exception(sentences):
    known = {"i", "may", "treasurer", *CALENDAR, *TITLES}
    for sentence in sentences:
        if sum(token.isupper() for token, _ in sentence) > len(sentence) / 2:
            continue  # a headline in capitals
        for token, label in sentence[1:]:
            assert label != "O" or not token[0].isupper() or token.lower() in known, token


def test_the_card_gives_the_numbers_of_the_file(parts):
    card = (DATA / "course-entities.md").read_text(encoding="utf-8")
    for name, part in parts.items():
        kinds = collections.Counter(kind for kind, _ in entities(part))
        without = sum(all(label == "O" for _, label in s) for s in part)
        row = [
            len(part),
            without,
            sum(map(len, part)),
            *(kinds[kind] for kind in TYPES),
            kinds.total(),
        ]
        assert f"| {name} | {' | '.join(map(str, row))} |" in card
    labels = [label for sentence in parts["all"] for _, label in sentence]
    several = sum(" " in name for _, name in entities(parts["all"]))
    assert f"Of {len(labels)} tokens {labels.count('O')} are `O`" in card
    assert f"of {len(entities(parts['all']))} entities {several}\n" in card
    assert f"in the median {median(map(len, parts['all'])):g}." in card
    assert f"The first {TRAIN} sentences" in card
