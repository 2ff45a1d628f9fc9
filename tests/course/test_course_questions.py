import collections
import itertools
import json
import re
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[2] / "rlhf_lib" / "data"
TRAINING_TITLES = 48
PARTS = ("train", "validation")
KINDS = ("direct", "paraphrase", "comparison")
QUESTION_WORDS = ("which", "what", "who", "why", "how", "when", "where")
ALIASES = {"whom": "who", "whose": "who"}
STOP_WORDS = set(
    """a after all although an and are as at be been before both by did do does during
    each even every for from had has have he her his how however if in instead is it its many most
    much not of often on once one only or our she since so that the their then there these they
    this those to two three until was were we what when where which who whom whose why with
    without you your""".split()
)
NUMBER = re.compile(
    r"\b(?:\d[\d.,:]*\d|\d|once|twice|first|second|third|half|"
    r"(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)(?:-\w+)?|"
    r"one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fourteen|"
    r"fifteen|nineteen|hundred|thousand)\b",
    re.IGNORECASE,
)
NAME = re.compile(r"\b[A-ZÉ][\w'-]+(?: [A-ZÉ][\w'-]+)*")


@pytest.fixture(scope="module")
def squad():
    return json.loads((DATA / "course-questions.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def passages(squad):
    return [paragraph for article in squad["data"] for paragraph in article["paragraphs"]]


@pytest.fixture(scope="module")
def asked(squad):
    """`(part, context, question record)` of every question."""
    return [
        (PARTS[place >= TRAINING_TITLES], paragraph["context"], qa)
        for place, article in enumerate(squad["data"])
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    ]


def normalized(text):
    """As SQuAD's evaluation compares: no case, punctuation, articles or repeated spaces."""
    text = re.sub(r"[^\w\s]", "", text.lower())
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def kind(qa):
    return qa["id"].rsplit("-", 1)[1]


def question_word(qa):
    words = [ALIASES.get(word, word) for word in re.findall(r"\w+", qa["question"].lower())]
    return next(word for word in words if word in QUESTION_WORDS)


def test_the_layout_is_that_of_squad_1_1(squad):
    assert set(squad) == {"version", "data"} and squad["version"] == "1.1"
    for article in squad["data"]:
        assert set(article) == {"title", "paragraphs"} and type(article["title"]) is str
        for paragraph in article["paragraphs"]:
            assert set(paragraph) == {"context", "qas"} and type(paragraph["context"]) is str
            for qa in paragraph["qas"]:
                assert set(qa) == {"id", "question", "answers"}
                assert type(qa["id"]) is type(qa["question"]) is str
                for answer in qa["answers"]:
                    assert set(answer) == {"text", "answer_start"}
                    assert type(answer["text"]) is str and type(answer["answer_start"]) is int


def test_every_answer_lies_where_the_file_says(asked):
    for _, context, qa in asked:
        for answer in qa["answers"]:
            text, start = answer["text"], answer["answer_start"]
            places = [match.start() for match in re.finditer(re.escape(text), context)]
            assert start in places, f"{qa['id']}: {text!r} is at {places}, not at {start}"
            around = context[max(start - 1, 0) : start], context[start + len(text) :][:1]
            assert not any(re.match(r"\w", letter) for letter in around), (qa["id"], text, around)
            assert text == text.strip(' .,;:!?"') and text, (qa["id"], text)


def test_accepted_answers_are_few_and_count_as_different(asked):
    for _, _, qa in asked:
        texts = [normalized(answer["text"]) for answer in qa["answers"]]
        assert 1 <= len(texts) <= 3 and len(set(texts)) == len(texts), qa
        assert all(texts), f"{qa['id']}: nothing is left of an answer after normalization"


def test_there_are_eighty_passages_of_four_questions(squad, passages, asked):
    assert len(squad["data"]) == len(passages) == 80
    assert all(len(passage["qas"]) == 4 for passage in passages)
    for passage in passages:
        assert 60 <= len(passage["context"].split()) <= 160, passage["context"]
        assert passage["context"] == " ".join(passage["context"].split())
    for values in (
        [article["title"] for article in squad["data"]],
        [qa["id"] for _, _, qa in asked],
        [qa["question"] for _, _, qa in asked],
    ):
        assert len(set(values)) == len(values)
    assert all(re.fullmatch(r"[A-Z].*[^\s]\?", qa["question"]) for _, _, qa in asked)


def test_no_two_passages_share_a_run_of_six_words(passages):
    def runs(text):
        words = re.findall(r"\w+", text.lower())
        return set(zip(*(words[i:] for i in range(6)), strict=False))

    of = [runs(passage["context"]) for passage in passages]
    for a, b in itertools.combinations(range(len(of)), 2):
        assert not of[a] & of[b], (a, b, of[a] & of[b])


def test_a_question_gives_its_answer_away_only_among_alternatives(asked):
    for _, _, qa in asked:
        inside = [
            a["text"]
            for a in qa["answers"]
            if f" {normalized(a['text'])} " in f" {normalized(qa['question'])} "
        ]
        assert not inside or " or " in qa["question"], (qa["id"], inside)


@pytest.mark.parametrize("pattern", [NUMBER, NAME], ids=["numbers", "names"])
def test_the_type_of_an_answer_does_not_tell_it(asked, pattern):
    def candidates(text):
        return [
            found
            for found in dict.fromkeys(pattern.findall(text))
            if pattern is NUMBER or found.split()[0].lower() not in STOP_WORDS
        ]

    guesses = []
    for _, context, qa in asked:
        text = qa["answers"][0]["text"]
        if candidates(text) and len(text.split()) <= 4:
            right = [found in text or text in found for found in candidates(context)]
            assert not all(right), f"{qa['id']}: {text!r} has no rival of its type"
            guesses.append((right[0], right[-1], sum(right) / len(right)))
    first, last, random = (sum(values) / len(guesses) for values in zip(*guesses, strict=True))
    assert len(guesses) > 70 and max(first, last, random) < 0.25, (first, last, random)


def test_shared_words_find_the_sentence_of_a_direct_question_only(asked):
    def stems(text):
        return {
            re.sub(r"(ing|ed|es|s|e)$", "", word) for word in re.findall(r"\w+", text.lower())
        } - STOP_WORDS

    found = collections.defaultdict(list)
    for _, context, qa in asked:
        ends = [m.end() for m in re.finditer(r"[.!?]\"?\s+(?=[\"A-Z0-9])", context)]
        sentences = list(itertools.pairwise([0, *ends, len(context)]))
        shared = [len(stems(qa["question"]) & stems(context[a:b])) for a, b in sentences]
        a, b = sentences[shared.index(max(shared))]
        found[kind(qa)].append(any(a <= answer["answer_start"] < b for answer in qa["answers"]))
    share = {name: sum(hits) / len(hits) for name, hits in found.items()}
    assert share["direct"] > 0.8 and share["paraphrase"] < 0.6 and share["comparison"] < 0.5, share


def test_answers_are_spread_over_the_passage(asked):
    fifths = collections.Counter(
        int(5 * qa["answers"][0]["answer_start"] / len(context)) for _, context, qa in asked
    )
    assert set(fifths) == set(range(5)) and max(fifths.values()) <= 0.3 * len(asked), fifths


def test_the_card_counts_what_is_there(squad, passages, asked):
    card = (DATA / "course-questions.md").read_text(encoding="utf-8")
    table = {
        cells[0]: cells[1:]
        for cells in (
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in card.splitlines()
            if line.startswith("| ")
        )
    }

    def expect(row, of):
        counts = [sum(part == name and of(qa) for part, _, qa in asked) for name in PARTS]
        assert [int(cell) for cell in table[row][:3]] == [*counts, sum(counts)], row

    for name in KINDS:
        expect(name, lambda qa, name=name: kind(qa) == name)
    for name in QUESTION_WORDS:
        expect(name, lambda qa, name=name: question_word(qa) == name)
    expect("more than five words", lambda qa: len(qa["answers"][0]["text"].split()) > 5)
    expect("several accepted answers", lambda qa: len(qa["answers"]) > 1)
    expect("questions", lambda qa: True)

    lengths = [len(passage["context"].split()) for passage in passages]
    assert f"{min(lengths)} to {max(lengths)} words" in card
    titles = [article["title"] for article in squad["data"]]
    subjects = {
        row: re.findall(r"\w+", cells[-1])
        for row, cells in table.items()
        if set(re.findall(r"\w+", cells[-1])) & set(titles)
    }
    assert sorted(itertools.chain(*subjects.values())) == sorted(titles)
    for row, named in subjects.items():
        training = sum(titles.index(title) < TRAINING_TITLES for title in named)
        assert [int(cell) for cell in table[row][:2]] == [training, len(named) - training], row
