import collections
import csv
import itertools
import json
import re

import pytest
import torch

from rlhf_lib.text import encode, load_dataset, load_model
from rlhf_lib.text.datasets import DATA

SPLIT = "text,label,split\ngood,1,train\nbad,0,train\nfine,1,validation\npoor,0,validation\n"


@pytest.fixture
def write(tmp_path):
    def write(content, name="reviews.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return write


@pytest.fixture(scope="module")
def reviews():
    return load_dataset("course-reviews")


@pytest.fixture(scope="module")
def rows():
    with open(DATA / "course-reviews.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_reviews_are_balanced(reviews, rows):
    assert len(rows) == 800
    assert (len(reviews.train), len(reviews.validation)) == (400, 400)
    for part in reviews:
        assert part.label_names == ("negative", "positive")
        assert part.labels.count(1) == part.labels.count(0) == 200
        assert part.clean_labels == part.labels
        assert set(part.columns) == {"domain", "phenomenon", "split"}
    cells = collections.Counter((r["domain"], r["label"]) for r in rows)
    assert len(cells) == 12 and max(cells.values()) - min(cells.values()) <= 1
    cells = collections.Counter((r["domain"], r["label"], r["split"]) for r in rows)
    assert len(cells) == 24 and max(cells.values()) - min(cells.values()) <= 1


def test_a_third_of_the_reviews_is_not_plain(rows):
    kinds = collections.Counter(r["phenomenon"] for r in rows)
    assert set(kinds) == {"plain", "negation", "contrast", "understatement", "comparison", "irony"}
    assert 800 - kinds["plain"] >= 800 / 3


def test_no_two_reviews_share_half_of_their_trigrams(rows):
    def trigrams(text):
        words = re.findall(r"\w+(?:'\w+)*", text.lower())
        return set(zip(words, words[1:], words[2:], strict=False))

    sets = [trigrams(row["text"]) for row in rows]
    assert len({row["text"].lower() for row in rows}) == 800
    for a, b in itertools.combinations(range(800), 2):
        smaller = min(len(sets[a]), len(sets[b]))
        assert len(sets[a] & sets[b]) <= smaller / 2, (rows[a]["text"], rows[b]["text"])


def test_a_bag_of_words_does_not_solve_the_reviews(reviews):
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    bag = CountVectorizer(ngram_range=(1, 2))
    train, validation = bag.fit_transform(reviews.train.texts), None
    validation = bag.transform(reviews.validation.texts)
    best = max(
        LogisticRegression(C=c, max_iter=5000)
        .fit(train, reviews.train.labels)
        .score(validation, reviews.validation.labels)
        for c in (0.01, 0.1, 1.0, 10.0, 100.0)
    )
    assert best <= 0.80


def test_the_card_counts_what_is_there(rows):
    card = (DATA / "course-reviews.md").read_text(encoding="utf-8")
    table = {
        cells[0]: [int(cell) for cell in cells[1:]]
        for cells in (
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in card.splitlines()
            if re.fullmatch(r"\| \w+ ?(\| +\d+ )+\|", line)
        )
    }
    for column in ("domain", "phenomenon"):
        for value in {row[column] for row in rows}:
            chosen = [row for row in rows if row[column] == value]
            counts = [
                sum((row["label"], row["split"]) == (label, split) for row in chosen)
                for split in ("train", "validation")
                for label in "01"
            ]
            assert table[value] == [*counts, len(chosen)]
    assert table["all"] == [200, 200, 200, 200, 800]


def test_one_split(reviews):
    assert load_dataset("course-reviews", split="train") == reviews.train
    assert load_dataset("course-reviews", split="validation") == reviews.validation


def test_label_noise_flips_exactly_its_share_of_the_training_labels(reviews):
    noisy = load_dataset("course-reviews", label_noise=0.2, seed=1)
    assert noisy.validation == reviews.validation
    assert noisy.train.clean_labels == reviews.train.labels
    assert noisy.train.texts == reviews.train.texts
    flipped = [i for i in range(400) if noisy.train.labels[i] != noisy.train.clean_labels[i]]
    assert len(flipped) == 80
    assert load_dataset("course-reviews", label_noise=0.2, seed=1) == noisy
    assert load_dataset("course-reviews", label_noise=0.2, seed=2).train != noisy.train
    assert load_dataset("course-reviews", label_noise=1.0).train.labels == tuple(
        1 - label for label in reviews.train.labels
    )


def test_noise_is_drawn_after_the_limit():
    train = load_dataset("course-reviews", split="train", limit=50, label_noise=0.3, seed=4)
    assert len(train) == 50 and train.clean_labels.count(1) == 25
    assert sum(a != b for a, b in zip(train.labels, train.clean_labels, strict=True)) == 15


def test_subset_is_balanced_and_nested(reviews):
    small, large = reviews.train.subset(60, seed=5), reviews.train.subset(201, seed=5)
    assert small.labels.count(0) == small.labels.count(1) == 30
    assert abs(large.labels.count(0) - large.labels.count(1)) == 1
    assert set(small.texts) < set(large.texts)
    assert small != reviews.train.subset(60, seed=6)
    assert reviews.train.subset(400) == reviews.train
    position = {text: i for i, text in enumerate(reviews.train.texts)}
    assert [position[t] for t in small.texts] == sorted(position[t] for t in small.texts)
    assert small.columns["domain"][0] == reviews.train.columns["domain"][position[small.texts[0]]]


def test_subset_takes_what_a_rare_class_has(write):
    data = load_dataset(write("text,label\n" + "".join(f"t{i},{int(i == 0)}\n" for i in range(9))))
    assert sorted(data.subset(4).labels) == [0, 0, 0, 1]


def test_noise_with_three_classes_reaches_both_others(write):
    path = write("text,label\n" + "".join(f"t{i},{'abc'[i % 3]}\n" for i in range(90)))
    data = load_dataset(path, label_noise=1.0)
    pairs = set(zip(data.labels, data.clean_labels, strict=True))
    assert pairs == {(a, b) for a in range(3) for b in range(3) if a != b}


def test_iteration(write):
    data = load_dataset(write("text,label\nGood one,yes\nBad one,no\n"))
    assert list(data) == [("Good one", 1), ("Bad one", 0)]
    assert data.label_names == ("no", "yes") and len(data) == 2 and data.name == "reviews.csv"


@pytest.mark.parametrize(
    ("content", "name", "encoding"),
    [
        ('label,text\n10,"a, ""b""\nc"\n\n2, d \n', "f.csv", "utf-8"),
        ('label,text\r\n10,"a, ""b""\nc"\r\n2,d\r\n', "f.csv", "utf-8-sig"),
        ('Label\tText\n10\t"a, ""b""\nc"\n2\td\n', "f.tsv", "utf-8"),
        ('label\ttext\n10\t"a, ""b""\nc"\n2\td\n', "f.csv", "utf-8"),
        ('label\ttext\textra, more\n10\t"a, ""b""\nc"\tx\n2\td\ty', "f.tab", "utf-8"),
    ],
)
def test_formats(write, content, name, encoding):
    data = load_dataset(write(content, name, encoding))
    assert data.texts == ('a, "b"\nc', "d")
    assert data.label_names == ("2", "10") and data.labels == (1, 0)


def test_a_users_own_splits(write):
    path = write(SPLIT)
    both = load_dataset(path, label_noise=0.5)
    assert both.train.texts == ("good", "bad")
    assert both.validation.labels == both.validation.clean_labels == (1, 0)
    assert both.train.labels != both.train.clean_labels
    with pytest.raises(ValueError, match=r"expected rows with split=train, got validation 4"):
        load_dataset(write(SPLIT.replace("train", "dev")), split="train")
    with pytest.raises(ValueError, match=r"has no column split, got 'train'. Do: leave split out"):
        load_dataset(write("text,label\na,0\nb,1\n"), split="train")


def test_a_second_file_can_share_the_numbering(write):
    path = write("text,label\na,c\nb,b\n")
    assert load_dataset(path, label_names=("a", "b", "c")).labels == (2, 1)
    assert load_dataset(write("text,label\na,c\n", "g.csv"), label_names=("b", "c")).labels == (1,)
    with pytest.raises(ValueError, match=r"line 3: expected a label out of \['c', 'd'\], got 'b'"):
        load_dataset(path, label_names=("c", "d"))


@pytest.mark.parametrize(
    ("content", "line", "reason", "cure"),
    [
        ("", 1, "no rows", "write a header text,label"),
        ("text,label\n", 1, "no rows", "one line per row"),
        (
            "sentence,label\na,1\n",
            1,
            "expected one column text, got the columns sentence, label",
            "text_column='sentence'.* a line of names above, as text,label",
        ),
        ("text,text,label\na,b,1\n", 1, "there are 2 columns text", "a name of its own"),
        ("text,label\na,1\n ,0\n", 3, "the text is missing", "delete the row"),
        ("text,label\na,1\nb,\n", 3, "the label is missing", "fill it in"),
        ("text,label\na,1\nb\n", 3, r"expected 2 columns \(text, label\), got 1", "write 2 values"),
        ('text,label\n"a\nb",1\n\nwell, no,0\n', 5, "expected 2 columns .* got 3", "double quotes"),
        ('text,label\n"a,1\nb,0\n', 2, "unexpected end of data", "double quotes"),
        ('text,label\n"a" b,1\n', 2, "',' expected after", "double quotes"),
        ("text,label\na,1\nb,1\n", 3, "every label up to here is '1'", "another class"),
        (b"text,label\na,1\nbl\xe4,0\n", 3, "byte 0xe4 is not UTF-8", '"blä,0".*"cp1252"'),
    ],
)
def test_errors_name_file_line_reason_and_cure(write, content, line, reason, cure):
    path = write(content)
    with pytest.raises(
        ValueError,
        match=rf"{re.escape(str(path))}, line {line}: .*{reason}.*"
        rf"{cure}",
    ):
        load_dataset(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"split": "dev"},
            r"split: expected one of \('train', 'validation', 'test'\) or None, got 'dev'",
        ),
        ({"label_noise": 1.5}, "label_noise: expected a share from 0 to 1, got 1.5"),
        ({"label_noise": "0.2"}, "label_noise: expected a number, got '0.2'"),
        ({"label_noise": 0.2, "split": "validation"}, "Validation labels stay clean"),
        ({"limit": 0}, "limit: expected at least 1, got 0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        load_dataset("course-reviews", **arguments)


@pytest.mark.parametrize("n", [0, 401, 2.0, True])
def test_bad_subset(reviews, n):
    with pytest.raises(ValueError, match="expected an integer from 1 to 400, got"):
        reviews.train.subset(n)


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"'course-reviews'\] or the path of a CSV"):
        load_dataset(tmp_path / "absent.csv")


def test_encode():
    _, tokenizer = load_model(name="tiny-random")
    data = encode(tokenizer, ["ab", "abcd e"])
    assert data["input_ids"].shape == data["attention_mask"].shape == (2, 7)
    assert data["attention_mask"].sum(1).tolist() == [4, 7]
    assert data["input_ids"].dtype == torch.long
    assert encode(tokenizer, ["abcdef"], max_length=4)["input_ids"].shape == (1, 4)
    for texts in ("text", []):
        with pytest.raises(ValueError, match="texts: expected a list of at least one string"):
            encode(tokenizer, texts)
    with pytest.raises(ValueError, match="max_length: expected at least 3"):
        encode(tokenizer, ["a"], max_length=2)


def test_real_sentences_go_through_the_same_call(shared_data):
    train = load_dataset(shared_data / "sst2_train.csv")
    validation = load_dataset(shared_data / "sst2_validation.csv", label_names=train.label_names)
    assert (len(train), len(validation)) == (4000, 872)
    assert train.labels.count(1) == 2088 and train.label_names == ("0", "1")
    small = load_dataset(shared_data / "sst2_train.csv", limit=128, label_noise=0.2)
    assert small.clean_labels.count(1) == 64
    assert sum(a != b for a, b in zip(small.labels, small.clean_labels, strict=True)) == 26


ENTITIES = """-DOCSTART- -X- O O

EU NNP B-ORG
rejects VBZ O
German JJ B-MISC
call NN O

Peter NNP B-PER
Black NNP I-PER
"""


def test_embedded_entities_come_in_their_two_parts():
    train, validation = load_dataset("course-entities")
    assert (len(train), len(validation)) == (180, 140)
    assert (
        train.label_names
        == validation.label_names
        == ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-MISC", "I-MISC")
    )
    lines = (DATA / "course-entities.conll").read_text(encoding="utf-8").splitlines()
    pairs = [
        (token, tag)
        for part in (train, validation)
        for tokens, tags in part
        for token, tag in zip(tokens, tags, strict=True)
    ]
    assert pairs == [tuple(line.split(" ")) for line in lines if line]
    assert load_dataset("course-entities", split="validation") == validation
    assert load_dataset("course-entities", limit=7, seed=3).train == train.subset(7, seed=3)
    assert train.name == "course-entities"


def test_embedded_questions_come_in_their_two_parts():
    train, validation = load_dataset("course-questions")
    assert (len(train), len(validation)) == (192, 128)
    titles = [{q.title for q in part} for part in (train, validation)]
    assert [len(t) for t in titles] == [48, 32] and not titles[0] & titles[1]
    kinds = collections.Counter(q.kind for q in validation)
    assert kinds == {"direct": 43, "paraphrase": 56, "comparison": 29}
    for question in (*train, *validation):
        for text, start in question.answers:
            assert question.context[start : start + len(text)] == text
    assert len(load_dataset("course-questions", split="train", limit=10)) == 10


@pytest.mark.parametrize("of", ["course-entities", "course-questions"])
def test_subsets_of_sentences_and_questions_are_nested_and_in_order(of):
    whole = load_dataset(of, split="train")
    order = {id(x): i for i, x in enumerate(list(whole.tokens if "ent" in of else whole))}
    small, large = (
        [order[id(x)] for x in (part.tokens if "ent" in of else part)]
        for part in (whole.subset(9, seed=5), whole.subset(30, seed=5))
    )
    assert set(small) < set(large) and large == sorted(large)
    assert whole.subset(9, seed=6) != whole.subset(9, seed=5)
    with pytest.raises(ValueError, match=f"{of}: expected an integer from 1 to {len(whole)}"):
        whole.subset(0)


@pytest.mark.parametrize("name", ["a.conll", "a.txt", "a.bio", "a.iob2", "a.data", "a.TSV"])
@pytest.mark.parametrize("separator", [" ", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_conll_by_path(write, name, separator, newline):
    content = ENTITIES.replace(" ", separator).replace("\n", newline)
    data = load_dataset(write(content, name, "utf-8-sig"))
    assert data.tokens == (("EU", "rejects", "German", "call"), ("Peter", "Black"))
    assert data.tags == (("B-ORG", "O", "B-MISC", "O"), ("B-PER", "I-PER"))
    assert data.label_names == ("O", "B-MISC", "I-MISC", "B-ORG", "I-ORG", "B-PER", "I-PER")
    assert list(data)[1] == (("Peter", "Black"), ("B-PER", "I-PER"))


def test_a_no_break_space_separates_no_columns(write):
    data = load_dataset(write("1\u00a0000 O\nmen O\n", "a.conll"))
    assert data.tokens == (("1\u00a0000", "men"),)


def test_a_table_may_have_any_suffix(write):
    assert load_dataset(write("text,label\na,0\nb,1\n", "a.txt")).texts == ("a", "b")


def test_iob1_is_converted(write):
    tags = ["I-PER", "I-PER", "B-PER", "O", "I-LOC", "I-ORG", "I-ORG"]
    lines = [f"w{i} {tag}" for i, tag in enumerate(tags)] + ["", "w7 I-ORG", ""]
    data = load_dataset(write("\n".join(lines), "a.conll"))
    assert data.tags == (("B-PER", "I-PER", "B-PER", "O", "B-LOC", "B-ORG", "I-ORG"), ("B-ORG",))


@pytest.mark.parametrize(
    ("content", "line", "reason", "cure"),
    [
        ("", 1, "there are no sentences", "a token and its tag a line"),
        ("a O\nb\n", 2, "expected a token and its tag, got 'b'", "a tab or a space"),
        ("a O\n\tO\n", 2, "expected a token and its tag", "a tab or a space"),
        ("a O\nb E-PER\n", 2, "E-PER of 'b' follows no open PER", "correct the tag"),
        ("a S-PER\nb L-PER\n", 2, r"got S-PER \(line 1\), L-PER \(line 2\)", "in BIO"),
        ("a O\nb PER\n", 2, "expected a tag O, B-TYPE or I-TYPE .* got 'PER'", "BIOES"),
        ("a O\nb B-\n", 2, "got 'B-'", "last column"),
        (
            "a B-PER\n\nb O\nc I-PER\n",
            4,
            "I-PER of 'c' follows no PER, .* line 1 begins an entity with B-PER",
            "write B-PER here",
        ),
        ("a B-PER\nb I-LOC\n", 2, "I-LOC of 'b' follows no LOC", "write B-LOC here"),
        (b"a O\nb\xe4 O\n", 2, "not UTF-8", "UTF-8"),
    ],
)
def test_errors_in_conll(write, content, line, reason, cure):
    path = write(content, "a.conll")
    with pytest.raises(
        ValueError,
        match=rf"{re.escape(str(path))}, line {line}: .*{reason}.*"
        rf"{cure}",
    ):
        load_dataset(path)


def test_a_second_file_of_entities_can_share_the_numbering(write):
    path = write("a B-LOC\n", "a.conll")
    names = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
    assert load_dataset(path, label_names=names).label_names == names
    with pytest.raises(ValueError, match=r"line 1: expected a tag out of .* got 'B-LOC'"):
        load_dataset(path, label_names=names[:3])
    with pytest.raises(ValueError, match=r"no column split, got 'train'.*a file of its own"):
        load_dataset(path, split="train")


def squad(*answers, **changes):
    qa = {
        "id": "1",
        "question": "Who?",
        "answers": [{"text": text, "answer_start": start} for text, start in answers],
    } | changes
    return {
        "version": "1.1",
        "data": [{"title": "T", "paragraphs": [{"context": "Ann saw Bo.", "qas": [qa]}]}],
    }


def test_squad_by_path(write):
    data = load_dataset(write(json.dumps(squad(("Bo", 8), ("saw Bo", 4))), "a.json", "utf-8-sig"))
    (question,) = data
    assert question == ("1", "Who?", "Ann saw Bo.", (("Bo", 8), ("saw Bo", 4)), "T")
    assert data.name == "a.json" and data.groups == ("T",)
    assert load_dataset(write(json.dumps(squad(("Bo", 8))), "a.data")).questions[0].id == "1"


def test_squad_2_keeps_unanswerable_questions(write):
    content = squad(("Bo", 8))
    content["data"][0]["paragraphs"][0]["qas"].append(
        {"id": "2", "question": "Where?", "answers": [], "is_impossible": True}
    )
    data = load_dataset(write(json.dumps(content), "a.json"))
    assert [q.is_impossible for q in data] == [False, True] and data.questions[1].answers == ()
    assert "2 questions of 1 texts, 1 of them without an answer" in repr(data)


QA = r"data\[0\]\.paragraphs\[0\]\.qas\[0\]"


@pytest.mark.parametrize(
    ("content", "place", "reason"),
    [
        ('{"data": [\n}', "line 2", "no JSON"),
        ("[]", "line 1", "there are no rows"),
        ("[1]", "item 1", "expected an object, got int"),
        (squad(("Bo", 8), is_impossible=True), QA, "is_impossible is true, and there is an answer"),
        (squad(("Bo", 8), is_impossible="no"), QA, "expected true or false"),
        ("{}", "the file", "expected a list 'data', got NoneType"),
        ('{"data": [{"title": "T"}]}', r"data\[0\]", "expected a list 'paragraphs'"),
        ('{"data": []}', "the file", "no questions"),
        (
            squad(("Bo", 7)),
            rf"{QA}\.answers\[0\]",
            r"expected 'Bo' at answer_start 7, got ' B'; it is "
            "at 8",
        ),
        (squad(("Bob", 8)), rf"{QA}\.answers\[0\]", "it is nowhere in the context"),
        (squad(("Bo", -3)), rf"{QA}\.answers\[0\]", "expected a number of characters from 0"),
        (squad(("", 0)), rf"{QA}\.answers\[0\]", "expected a text as 'text', got ''"),
        (squad(("Bo", 8), question=" "), QA, "expected a text as 'question'"),
        (squad(("Bo", 8), id=7), QA, "expected a text as 'id', got 7"),
        (squad(), QA, "there is no answer"),
    ],
)
def test_errors_in_squad_name_the_place(write, content, place, reason):
    path = write(content if isinstance(content, str) else json.dumps(content), "a.json")
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))}, {place}: .*{reason}"):
        load_dataset(path)


def test_two_questions_of_one_id_are_refused(write):
    content = squad(("Bo", 8))
    content["data"] *= 2
    with pytest.raises(ValueError, match=r"data\[1\].*the id '1' occurs twice"):
        load_dataset(write(json.dumps(content), "a.json"))


@pytest.mark.parametrize("name", ["course-entities", "course-questions"])
def test_label_noise_is_for_texts(name):
    with pytest.raises(ValueError, match="label_noise: expected 0 for"):
        load_dataset(name, label_noise=0.2)


def test_questions_have_no_label_names():
    with pytest.raises(ValueError, match="label_names: expected None for questions"):
        load_dataset("course-questions", label_names=("a", "b"))


def test_real_entities_and_questions_go_through_the_same_call(shared_data):
    train = load_dataset(shared_data / "wikigold_train.txt")
    assert len(train) == 954
    begun = collections.Counter(tag[2:] for _, tags in train for tag in tags if tag[0] == "B")
    assert begun == {"LOC": 666, "MISC": 375, "ORG": 506, "PER": 550}
    assert len(load_dataset(shared_data / "squad_train.json")) == 559
