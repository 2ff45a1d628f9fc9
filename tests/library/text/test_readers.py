"""What readers guess: read where it fits the whole file, else refused with a cure that works."""

import gzip
import io
import json
import re
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch

from rlhf_lib.text import TextDataset, TextPair, encode, load_dataset, load_model
from rlhf_lib.text.conll import EntityDataset
from rlhf_lib.text.squad import Question, QuestionDataset

GREAT = ('"Great phone', "Bad screen", 'last "', "other")
SWALLOWED = "text,label\n{},pos\n{},neg\n{},neg\n{},pos\n".format(*GREAT)
TWO = "text,label\na,p\nb,q\n"


@pytest.fixture
def write(tmp_path):
    def write(content, name):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize(
    ("content", "name", "texts", "guess"),
    [
        # Separators: by the header, checked in every row.
        ("text;label\nGood, really;p\nb;q\n", "a.csv", ("Good, really", "b"), "by semicolon"),
        ("sep=;\r\ntext;label\r\na;p\r\nb;q\r\n", "a.csv", ("a", "b"), "by semicolon"),
        ("text|label\na;b, c|p\nb|q\n", "a.txt", ("a;b, c", "b"), "by bar"),
        ("text,label\na\tb,p\nb,q\n", "a.csv", ("a\tb", "b"), "by comma"),
        ("text,label,\na,p,\nb,q,\n", "a.csv", ("a", "b"), "end of each row is left out"),
        ("text,label\na,p,\nb,q,\n", "a.csv", ("a", "b"), "end of each row is left out"),
        ("text,label\n,\na,p\nb,q\n", "a.csv", ("a", "b"), "1 rows without any value"),
        ("text,label\na, p \nb,q\n", "a.csv", ("a", "b"), "white space around 1 values"),
        # Quotes: in tables of tabs they are text where only this fits.
        (SWALLOWED.replace(",", "\t"), "a.tsv", GREAT, "quotes are part of the texts"),
        ('text\tlabel\n"a" b\tp\nc"\tq\n', "a.tsv", ('"a" b', 'c"'), "part of the texts"),
        ('text\tlabel\n"a\n""b"""\tp\nb\tq\n', "a.tsv", ('a\n"b"', "b"), "quotes enclose values"),
        ('text,label\n"a, b\nc",p\n5" d,q\n', "a.csv", ("a, b\nc", '5" d'), "by comma"),
        # Bytes.
        (gzip.compress(TWO.encode(), mtime=0), "a.csv.gz", ("a", "b"), "unpacked by gzip"),
        (TWO.encode("utf-16"), "a.csv", ("a", "b"), "utf-16, by its byte order mark"),
        ("text,label\r\na,p\nb,q\r", "a.csv", ("a", "b"), "line ends of several kinds"),
        ("text,label\na\u2028\x0bc,p\nb,q\n", "a.csv", ("a\u2028\x0bc", "b"), "by comma"),
        # JSON.
        ('{"text":"a","label":1}\n{"text":"b","label":0}\n', "a.jsonl", ("a", "b"), "a row a line"),
        ('[{"text":"a","label":1},{"text":"b","label":0}]', "a.json", ("a", "b"), "a list of rows"),
        # Plain text, for language models.
        ("One,\ntwo.\n\n\nThree\n", "a.txt", ("One,\ntwo.", "Three"), 'documents="paragraphs"'),
        ("Zur S-Bahn\n[1] {b\n", "a.txt", ("Zur S-Bahn", "[1] {b"), 'documents="lines"'),
    ],
)
def test_what_fits_the_whole_file_is_read_and_said(write, content, name, texts, guess):
    data = load_dataset(write(content, name))
    assert data.texts == texts and guess in repr(data)


def test_a_field_of_any_length_is_read(write):
    assert len(load_dataset(write(f"text,label\n{'w' * 150_000},p\nb,q\n", "a.csv")).texts[0]) > 1e5


def cells(*rows):
    return "".join(f"t{i},{label}\n" for i, label in enumerate(rows))


@pytest.mark.parametrize(
    ("content", "name", "message", "cures"),
    [
        (
            SWALLOWED,
            "a.csv",
            "line 2: a quote opens .* line 4",
            [{"quotes": False}, {"quotes": True}],
        ),
        ('text,label\n"a" b,p\nc,q\n', "a.csv", "line 2: .* expected after", [{"quotes": False}]),
        (
            'text\tlabel\n"a\tc\nb"\tp\nd\tq\n',
            "a.tsv",
            "line 2: a quote opens",
            [{"quotes": False}, {"quotes": True}],
        ),
        (
            "review;stars\na;p\nb;q\n",
            "a.csv",
            "line 1: expected one column text, got the columns review, stars",
            [{"text_column": "review", "label_column": "stars"}],
        ),
        ("text,y\na,p\nb,q\n", "a.csv", "expected one column label", [{"label_column": "y"}]),
        ("text,x\na,p\nb,q\n", "a.csv", "expected one column label", [{"label_column": None}]),
        (
            f"text,label\n{cells('pos', 'neg', 'Pos')}",
            "a.csv",
            r"line 4: the labels 'pos' \(row 1\) and 'Pos' \(row 3\) look like one",
            [{"label_names": ("Pos", "neg", "pos")}],
        ),
        (
            f"text,label\n{cells('1', '0', '1.0')}",
            "a.csv",
            "line 4: .*look like one",
            [{"label_names": ("0", "1", "1.0")}],
        ),
        (
            f"text,label\n{cells('pos', 'NA')}",
            "a.csv",
            "line 3: the label 'NA' .* missing value",
            [{"label_names": ("NA", "pos")}],
        ),
        (
            f"text,label\n{cells('3.80', '1.25')}",
            "a.csv",
            "line 2: the label '3.80' is a number with a fraction",
            [{"regression": True}, {"label_names": ("1.25", "3.80")}],
        ),
        (
            f"text;label\n{cells('3,8', '1,25').replace(',', ';', 1).replace('t1,', 't1;')}",
            "a.csv",
            "line 2: the label '3,8' is a number with a fraction",
            [{"regression": True}],
        ),
        (
            f"text,label\n{cells(*range(30))}",
            "a.csv",
            "line 2: 30 different labels in 30 rows",
            [{"regression": True}],
        ),
        (
            "text,label,split\na,p,train\nb,q,\n",
            "a.csv",
            "line 3: expected train, validation or test in the column split, got ''",
            [{"split_column": None}],
        ),
        (
            "text,label,split\na,p,train\nb,q,test\n",
            "a.csv",
            "expected rows with split=validation, got train 1, test 1",
            [{"split_column": None}],
        ),
        (
            "text,label\na,p\nbl\xe4,q\n".encode("cp1252"),
            "a.csv",
            "line 3",
            [{"encoding": "cp1252"}],
        ),
        (TWO.encode("utf-16-le"), "a.csv", "line 1: .*NUL", [{"encoding": "utf-16-le"}]),
        ("good\tp\nbad\tq\n", "a.txt", "line 1: this looks like a table", [{"documents": "lines"}]),
        ("good;p\nbad;q\n", "a.txt", "line 1: this looks like a table", [{"documents": "lines"}]),
        ("1 a B-X\n2 b O\n\n3 c O\n", "a.conll", "line 1: .* mostly numbers", [{"text_column": 2}]),
        ("1-2 ab O\n1 a O\n", "a.conll", "line 1: .* mostly numbers", [{"text_column": 2}]),
        (
            "d a B-X\nd b O\n\nd c O\nd e O\n",
            "a.conll",
            "line 1: the first column has one name a sentence",
            [{"text_column": 2}],
        ),
        (
            "1 a B-X O\n2 b B-Y B-X\n",
            "a.conll",
            "line 1: the columns 3 and 4 both have tags of X",
            [{"label_column": 3}, {"label_column": 4}],
        ),
        (
            "a B-X\nb B-x\n",
            "a.conll",
            "line 2: the types X and x look like one",
            [{"label_names": ("O", "B-X", "I-X", "B-x", "I-x")}],
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_a_cure_that_works(write, content, name, message, cures):
    path = write(content, name)
    with pytest.raises(ValueError, match=message) as error:
        load_dataset(path)
    for cure in cures:
        (key, *_) = cure
        value = cure[key]
        written = f'{key}="{value}"' if isinstance(value, str) else f"{key}={value!r}"
        assert written.replace('"', "'") in str(error.value).replace('"', "'")
        assert len(load_dataset(path, **cure))


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("good film,pos\nbad film,neg\n", "a.csv", "write a line of names above, as text,label"),
        ("text,label,x,X\na,p,1,2\n", "a.csv", "line 1: there are 2 columns x"),
        ("text,label\na,p,\nb,q\n", "a.csv", "line 2: expected 2 columns .* got 3"),
        ('text,label\na, "p"\nb,q\n', "a.csv", "line 2: the label '\"p\"' has its quote in it"),
        ("text,label\na\0b,p\n", "a.csv", "line 2: there is a NUL"),
        ("text,label\na,p\nb,p\N{ZERO WIDTH SPACE}\n", "a.csv", "look like one class"),
        ("text,label,split\na,p,train\nb,q,holdout\n", "a.csv", "line 3: .* got 'holdout'"),
        ('{"text":"a","label":1}\n{"text":"b"}\n', "a.jsonl", "line 2: the label is missing"),
        ('{"text":"a","text":"b","label":1}\n', "a.jsonl", "line 1: the key 'text' is there twice"),
        ('{"text":"a \\ud83d","label":1}\n', "a.jsonl", r"line 1, 'text': character 2 is U\+D83D"),
        ('{"text":["a"],"label":1}\n', "a.jsonl", "line 1: expected a string as text, got list"),
        ('{"text":"a","label":NaN}\n', "a.jsonl", "line 1: NaN is no value of JSON"),
        ('{"text":' + "[" * 99_999, "a.jsonl", "line 1: this is nested too deeply"),
        ("a x O\nb O\n", "a.conll", "line 2: expected 3 columns as before"),
        ("a B-X\nb I-X\n\nc S-X\n", "a.conll", "line 3: the end of the sentence follows an open X"),
        ("a O\nb E-X\n", "a.conll", "line 2: E-X of 'b' follows no open X"),
        ("a B-X\nb E-Y\n", "a.conll", "line 2: E-Y of 'b' follows an open X"),
        (b"\x89PNG\r\n\x1a\n\0\0", "a.png", "expected text, got bytes of another kind"),
        (b"PAR1", "a.parquet", r"a Parquet file. Do: pandas.read_parquet\(path\).to_csv"),
        (gzip.compress(TWO.encode(), mtime=0)[:-9], "a.csv.gz", "expected a whole gzip file"),
    ],
)
def test_what_has_no_reading_is_refused_by_line(write, content, name, message):
    path = write(content, name)
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}.*{message}"):
        load_dataset(path)


@pytest.mark.parametrize(("inside", "what"), [("xl/workbook.xml", "Excel"), ("b.csv", "b.csv")])
def test_archives_and_workbooks_are_named(write, inside, what):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(inside, TWO)
    with pytest.raises(ValueError, match=f"got a.* {what}"):
        load_dataset(write(packed.getvalue(), "a.bin"))


def test_what_pandas_writes_is_read(write):
    texts = ['a "b",\nc', "d; e\t", "1"]
    frame = pd.DataFrame({"text": texts, "label": [1, 2, 10]})
    for content, name in (
        (frame.to_csv(), "a.csv"),
        (frame.to_csv(sep=";", index=False), "b.csv"),
        (frame.to_csv(sep="\t", index=False, quoting=1), "c.tsv"),
        (frame.to_json(orient="records", lines=True), "d.jsonl"),
    ):
        data = load_dataset(write(content, name))
        assert data.texts == tuple(t.strip() for t in texts)
        assert data.label_names == ("1", "2", "10")


def test_known_spellings_of_splits_and_none_is_lost(write):
    rows = "".join(
        f"{s},{i % 2},{s}\n" for i, s in enumerate(("Train", "TRAIN", "val", "dev", "Test"))
    )
    path = write(f"text,label,split\n{rows}", "a.csv")
    both = load_dataset(path)
    assert [p.texts for p in (*both, both.test)] == [("Train", "TRAIN"), ("val", "dev"), ("Test",)]
    assert load_dataset(path, split="test") == both.test and "'dev' means validation" in repr(both)


def test_columns_of_pairs_groups_numbers_and_several_classes(write):
    path = write("Premise,hypothesis,doc,y,toxic,rude\na,b,7,0.5,1,0\nc,d,8,2,0,0\n", "a.csv")
    names = {"text_column": "premise", "second_column": "hypothesis", "group_column": "doc"}
    data = load_dataset(path, **names, label_column="y", regression=True)
    assert data.texts == (TextPair("a", "b"), TextPair("c", "d")) and data.labels == (0.5, 2.0)
    assert data.take([1]).groups == ("8",) and data.problem_type == "regression"
    _, tokenizer = load_model(name="tiny-random")
    assert encode(tokenizer, data.texts)["input_ids"].shape == (2, 5)
    several = load_dataset(path, text_column="premise", label_column=("toxic", "rude"))
    assert several.labels == ((1, 0), (0, 0)) and several.label_names == ("toxic", "rude")
    lists = write('{"text":"a","label":["x","y"]}\n{"text":"b","label":[]}\n', "a.jsonl")
    assert load_dataset(lists).labels == ((1, 1), (0, 0))


def test_a_folder_of_texts_has_a_class_a_folder(tmp_path):
    for name, text in (("neg/1", "bad"), ("pos/1", "good"), ("pos/2", "fine\nfilm")):
        path = tmp_path / "train" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    data = load_dataset(tmp_path / "train")
    assert list(data) == [("bad", 0), ("good", 1), ("fine\nfilm", 1)]
    assert load_dataset(tmp_path / "train", label_names=("pos", "neg")).labels == (1, 0, 0)
    alone = load_dataset(tmp_path / "train" / "pos")
    assert alone.texts == ("good", "fine\nfilm") and alone.problem_type is None
    with pytest.raises(ValueError, match="got a folder a part, as train"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("scheme", "letters"), [("BIOES", "BIES"), ("BILOU", "BILU"), ("BMES", "BMES"), ("BIO", "BIIB")]
)
def test_schemes_of_tags_become_bio(write, scheme, letters):
    b, i, e, s = letters
    tags = [f"{b}-X", f"{i}-X", f"{e}-X", f"{s}-X", "O", f"{s}-Y", f"{b}-Y", f"{e}-Y"]
    data = load_dataset(write("".join(f"w {tag}\n" for tag in tags), "a.conll"))
    assert data.tags == (("B-X", "I-X", "I-X", "B-X", "O", "B-Y", "B-Y", "I-Y"),)
    assert f"tags of {scheme}" in repr(data)


def test_counters_and_comments_are_no_words(write):
    content = "# text = EU x\n1 EU NNP B-X\n2 # SYM O\n\n1 Po NNP B-X\n"
    data = load_dataset(write(content, "a.conll"))
    assert data.tokens == (("EU", "#"), ("Po",))
    assert "tokens from column 2" in repr(data) and "1 comments are left out" in repr(data)


@pytest.mark.parametrize(("encoding", "size"), [("utf-8", 1), ("utf-16-le", 2)])
def test_an_answer_counted_in_other_units_is_named(write, encoding, size):
    context = "😀é saw Bo."
    start = len(context[: context.index("Bo")].encode(encoding)) // size
    answers = [{"text": "Bo", "answer_start": start}]
    qa = {"id": "1", "question": "Who?", "answers": answers}
    root = {"data": [{"paragraphs": [{"context": context, "qas": [qa]}]}]}
    with pytest.raises(ValueError, match=rf"it is at 7.*{start} counts .*{encoding[:5].upper()}"):
        load_dataset(write(json.dumps(root), "a.json"))


def test_rows_of_questions_are_read(write):
    rows = [
        {"id": str(i), "question": "Who?", "context": "Ann saw Bo.", "answers": answers}
        for i, answers in enumerate(
            ({"text": ["Bo"], "answer_start": [8]}, {"text": [], "answer_start": []})
        )
    ]
    data = load_dataset(write("\n".join(map(json.dumps, rows)), "a.jsonl"))
    assert [q.answers for q in data] == [(("Bo", 8),), ()]
    rows[1]["answers"] = {"text": ["Bo"], "answer_start": [7]}
    with pytest.raises(ValueError, match=r"line 2\..* expected 'Bo' at answer_start 7"):
        load_dataset(write("\n".join(map(json.dumps, rows)), "a.jsonl"))


MASK = [False, True, False, True]


@pytest.mark.parametrize(
    "mask", [MASK, np.array(MASK), torch.tensor(MASK), pd.Series(MASK), [1, 3], np.array([1, 3])]
)
def test_take_picks_by_mask_or_by_index(mask):
    data = TextDataset(["a", "b", "c", "d"], [0, 1, 0, 1], ["x", "y"], "d")
    assert data.take(mask).texts == ("b", "d")
    assert EntityDataset([["a"], ["b"], ["c"], ["d"]], [["O"]] * 4, ["O"], "d").take(
        mask
    ).tokens == (("b",), ("d",))
    asked = QuestionDataset([Question(i, "q", "c", ()) for i in "abcd"], "d")
    assert [q.id for q in asked.take(mask)] == ["b", "d"]


@pytest.mark.parametrize(
    "wrong", [-1, [-1], [4], [1.0], [True, 2], [True], "01", None, slice(2), [[0]], np.array([0.5])]
)
def test_take_refuses_what_is_no_index(wrong):
    data = TextDataset(["a", "b", "c", "d"], [0, 1, 0, 1], ["x", "y"], "d")
    with pytest.raises(ValueError, match=r"indices of d: expected integers from 0 to 3, or a mask"):
        data.take(wrong)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda d: d.subset(0.5),
            "expected an integer from 1 to 2, got 0.5. Do: for that share, 1",
        ),
        (lambda d: d.subset(1, seed=None), "seed: expected a whole number, got None"),
        (lambda d: d.with_label_noise(0.5, seed=-1), "seed: expected at least 0"),
        (lambda d: TextDataset(["a"], [0], ("x",), "d").with_label_noise(1), "no other class"),
        (
            lambda d: TextDataset(["a", "b"], [0, 2], ("x", "y"), "d"),
            "text 1: .* from 0 to 1.* as label",
        ),
        (lambda d: TextDataset(["a"], [0, 1], ("x", "y"), "d"), "expected 1 of labels"),
        (
            lambda d: TextDataset(["a\ud800"], [0], ("x", "y"), "d"),
            r"text 0: character 1 is U\+D800",
        ),
        (lambda d: TextDataset("ab", [0, 1], ("x", "y"), "d"), "texts: expected a sequence"),
        (
            lambda d: TextDataset([("a", "b"), "c"], [0, 1], ("x", "y"), "d"),
            "text 1: expected TextPair, got 'c'",
        ),
        (lambda d: EntityDataset([["a"]], [["O", "O"]], ["O"], "d"), "expected 1 tags"),
        (lambda d: EntityDataset([["a"]], [["B-X"]], ["O"], "d"), "expected a tag out of"),
        (
            lambda d: load_dataset("course-reviews", label_names=("a", "b")),
            "label_names: expected None",
        ),
        (
            lambda d: load_dataset("course-reviews", separator=",,"),
            "separator: expected one character",
        ),
        (lambda d: load_dataset("course-reviews", label_column=3), "expected the name of a column"),
        (
            lambda d: load_dataset("course-entities", text_column="x"),
            "expected the number of a column",
        ),
        (lambda d: load_dataset("course-entities", quotes=True), "quotes: expected none"),
        (lambda d: load_dataset("course-entities", label_names=[0, 1]), r"such as \('0', '1'\)"),
        (lambda d: load_dataset(3), "name: expected a string or a path"),
    ],
)
def test_small_arguments_are_refused_by_name(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call(TextDataset(["a", "b"], [0, 1], ("x", "y"), "d"))
