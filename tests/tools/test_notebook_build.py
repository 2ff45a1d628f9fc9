"""The course as it is built and committed: sources, learners' notebooks, navigation, text."""

import re
import shutil

import nbformat
import pytest

from rlhf_course.series import BY_NUMBER, SERIES
from tools import course_build, course_map, notebooks
from tools import course_faults as guard
from tools.course_faults import course_faults
from tools.notebook_text import from_text, to_text

ROOT = notebooks.ROOT
COMMITTED = notebooks.paths_of([])
SOURCES = [path for path in COMMITTED if path.parent == notebooks.SOLUTIONS]


def ids(paths):
    return [str(path.relative_to(notebooks.NOTEBOOKS)) for path in paths]


# -- what is committed


@pytest.mark.parametrize("path", COMMITTED, ids=ids(COMMITTED))
def test_a_notebook_has_what_the_course_asks_for(path):
    assert course_faults(path) == []


def test_every_source_has_its_learner_s_notebook_and_a_row_in_the_table():
    names = {path.name for path in SOURCES}
    assert names == {path.name for path in COMMITTED if path not in SOURCES}
    assert names <= {f"{row.name}.ipynb" for row in SERIES} and len(names) >= 3


def test_readme_lists_the_notebooks_of_the_table():
    text = (ROOT / "README.md").read_text()
    assert text == course_map.with_readme_table(text, course_map.written(notebooks.SOLUTIONS))
    assert course_map.broken_links([text], ROOT) == []


def test_the_table_is_in_teaching_order():
    assert [row.number for row in SERIES] == [f"{i:02}" for i in range(18)]
    assert all(row.slug.isidentifier() for row in SERIES)
    assert len({row.slug for row in SERIES}) == len(SERIES)


# -- building


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of two notebooks, 00 and 03, somewhere else, without links to the others."""
    folder = tmp_path / "notebooks"
    solutions = folder / "solutions"
    solutions.mkdir(parents=True)
    for number in ("00", "03"):
        name = f"{BY_NUMBER[number].name}.ipynb"
        text = (notebooks.SOLUTIONS / name).read_text()
        text = re.sub(r"\[(\d\d)[^\]]*\]\((?!00_|03_)\d\d_\w+\.ipynb[^)]*\)", r"\1", text)
        (solutions / name).write_text(text)
    for module in (course_build, guard, notebooks):
        monkeypatch.setattr(module, "SOLUTIONS", solutions)
    monkeypatch.setattr(notebooks, "NOTEBOOKS", folder)
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    monkeypatch.setattr(course_build, "ROOT", tmp_path)
    (tmp_path / "README.md").write_text("# A\n<!-- course -->\nold\n<!-- /course -->\nb\n")
    return folder


def test_building_twice_changes_nothing_the_second_time(course, capsys):
    assert notebooks.main(["build"]) == 0
    assert "README.md" in capsys.readouterr().out
    assert len(list(course.glob("*.ipynb"))) == 2 and not list(course.rglob(".*"))
    assert notebooks.main(["build"]) == 0
    assert capsys.readouterr().out == ""
    readme = (course.parent / "README.md").read_text()
    assert "| [03 Saddles and damping](notebooks/03_saddles_and_damping.ipynb) |" in readme
    assert "old" not in readme and readme.endswith("<!-- /course -->\nb\n")


def test_one_notebook_can_be_built_alone(course):
    assert notebooks.main(["build", "03"]) == 0
    assert [path.name[:2] for path in course.glob("*.ipynb")] == ["03"]
    assert "old" in (course.parent / "README.md").read_text()


def test_outputs_stay_with_code_that_stays(course):
    notebooks.main(["build"])
    path = course / "00_start_here.ipynb"
    shutil.copy(ROOT / "notebooks" / path.name, path)
    kept = nbformat.read(path, as_version=4)
    source_path = course / "solutions" / path.name
    source = nbformat.read(source_path, as_version=4)
    shown = [cell.id for cell in kept.cells if cell.get("outputs")]
    at = [cell.id for cell in kept.cells if cell.cell_type == "code"].index(shown[0])
    first = next(cell for cell in source.cells if cell.id == shown[0])
    first.source += "\nmore = 1"
    nbformat.write(source, source_path)
    notebooks.main(["build"])
    made = nbformat.read(path, as_version=4)
    outputs = [[c.outputs for c in nb.cells if c.cell_type == "code"] for nb in (kept, made)]
    assert outputs[1].pop(at) == [] != outputs[0].pop(at) and outputs[1] == outputs[0]
    assert any("not those of this code" in fault for fault in notebooks.faults(path))


def test_a_planned_notebook_is_named_without_a_link(course):
    notebooks.main(["build"])
    last = nbformat.read(course / "03_saddles_and_damping.ipynb", as_version=4).cells[-1].source
    assert "[00 Start here](00_start_here.ipynb)" in last
    assert "Next: 04 Hessian-vector products (planned)" in last and "04_" not in last
    assert "](00_start_here.ipynb#Map-of-the-course)" in last
    cells = nbformat.read(course / "00_start_here.ipynb", as_version=4).cells
    table = next(c.source for c in cells if "map" in c.metadata.get("tags", []))
    assert "[03 Saddles and damping](03_saddles_and_damping.ipynb)" in table
    assert "10 BERT (planned)" in table and len(table.splitlines()) == 2 + len(SERIES)


def test_navigation_between_neighbours():
    there = {row.number for row in SERIES}
    assert course_map.navigation("04", there).startswith(
        "Previous: [03 Saddles and damping](03_saddles_and_damping.ipynb) · Next: [05 "
    )
    assert course_map.navigation("00", there).startswith("Next: [01 ")
    assert "Next" not in course_map.navigation("17", there)
    assert "planned" not in course_map.course_map(there) + course_map.readme_table(there)


def test_wrong_markers_stop_the_build_and_name_the_place(course, capsys):
    path = course / "solutions" / "00_start_here.ipynb"
    path.write_text(path.read_text().replace("# --- end", "# --- stop", 1))
    assert notebooks.main(["build"]) == 1
    assert "00_start_here.ipynb: cell" in capsys.readouterr().out


def test_numbers_name_both_notebooks(course):
    notebooks.main(["build"])
    both = notebooks.paths_of(["03"])
    assert [path.parent.name for path in both] == ["solutions", "notebooks"]
    for name in ("99", "05", "nowhere.ipynb"):
        with pytest.raises(SystemExit, match="notebook"):
            notebooks.paths_of([name])


# -- what the guard sees


def spoil_source(edit):
    def spoil(course):
        path = course / "solutions" / "03_saddles_and_damping.ipynb"
        notebook = nbformat.read(path, as_version=4)
        edit(notebook)
        nbformat.write(notebook, path)
        return path

    return spoil


def cell_with(notebook, text):
    return next(cell for cell in notebook.cells if text in cell.source)


def replace(old, new, count=-1):
    def edit(notebook):
        cell = cell_with(notebook, old)
        cell.source = cell.source.replace(old, new, count)

    return edit


def add(text):
    def edit(notebook):
        notebook.cells[1].source += text

    return edit


def fail_a_check(notebook):
    cell_with(notebook, 'check("03.escape"').outputs[-1].data["text/plain"] = "✗ Not yet. Hm."


def solve_for_the_learner(course):
    path = course / "03_saddles_and_damping.ipynb"
    path.write_text(path.read_text().replace("… Not attempted yet", "✓ Correct", 1))
    return path


def edit_the_learner_s(course):
    path = course / "03_saddles_and_damping.ipynb"
    path.write_text(path.read_text().replace("Can Newton's method", "Could Newton's method"))
    return path


def rename(course):
    path = course / "03_saddles.ipynb"
    shutil.copy(course / "03_saddles_and_damping.ipynb", path)
    return path


ROW = BY_NUMBER["03"]
SPOILT = [
    (solve_for_the_learner, "should say '… Not attempted yet'"),
    (edit_the_learner_s, "change the source"),
    (rename, "not in the table"),
    (spoil_source(fail_a_check), "03.escape should say '✓ Correct'"),
    (spoil_source(replace("Hint 3</summary>", "Hint</summary>")), "has the hints [1, 2]"),
    (spoil_source(replace("Exercise 2", "Problem 2")), "is in no exercise"),
    (spoil_source(replace("(★★, 10 minutes)", "(hard)")), "begin a cell with"),
    (
        spoil_source(replace('check("03.safe_damping"', 'print("03.safe_damping"')),
        "the check 03.safe_damping is in no exercise",
    ),
    (spoil_source(replace('check("03.escape"', 'print("03.escape"')), "is a goal of its panel"),
    (spoil_source(replace('"03.safe_damping"', '"03.safe"')), "03.safe, which is no check"),
    (spoil_source(replace(f"{ROW.read} minutes", "some minutes")), "minutes of the table"),
    (spoil_source(replace(f"{ROW.run} seconds", "a moment")), "seconds of the table"),
    (spoil_source(replace("# 03 · Saddles and damping", "# Saddles")), "its first line"),
    (spoil_source(add("[00](00_begin.ipynb)")), "00_begin.ipynb leads nowhere"),
    (spoil_source(add("[00](00_start_here.ipynb#Nothing)")), "names no heading"),
    (spoil_source(add("Notebooks 00 and 04 (planned)")), "calls notebook 00"),
    (spoil_source(replace("Previous: ", "Before: ")), "out of date"),
    (spoil_source(replace("# --- end", "", 1)), "up to '# --- end'"),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILT, ids=[message for _, message in SPOILT])
def test_the_guard_sees(course, spoil, message):
    notebooks.main(["build"])
    for name in ("00_start_here.ipynb", "03_saddles_and_damping.ipynb"):
        outputs = nbformat.read(ROOT / "notebooks" / name, as_version=4)
        made = nbformat.read(course / name, as_version=4)
        course_build.keep_outputs(outputs, made)
        nbformat.write(made, course / name)
        assert course_faults(course / name) == course_faults(course / "solutions" / name) == []
    found = course_faults(spoil(course))
    assert any(message in fault for fault in found), found


# -- as text


@pytest.mark.parametrize("path", SOURCES, ids=ids(SOURCES))
def test_text_makes_the_same_notebook(path):
    source = nbformat.read(path, as_version=4)
    made = from_text(to_text(source), source)
    # The navigation is made again by the build.
    assert made.cells == source.cells[:-1]


def test_text_without_ids_numbers_the_cells():
    notebook = from_text("%% markdown\n# Title\n\ntext\n%% code tags=a,b\n\nx = 1\n\n\n")
    assert [(c.cell_type, c.id, c.source, dict(c.metadata)) for c in notebook.cells] == [
        ("markdown", "c00", "# Title\n\ntext", {}),
        ("code", "c01", "x = 1", {"tags": ["a", "b"]}),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# Title\n%% code\n", "line 1: the text should begin"),
        ("%% markdown\n%% python\n", "line 2: expected"),
        ("%% code id=a\n%% code id=a\n", "two cells have the id a"),
        ("%% markdown\nThe end.%% code\n", "line 2: a new line should begin before"),
    ],
)
def test_text_of_another_form_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        from_text(text)


def test_the_commands_for_text(course, tmp_path, capsys):
    file = tmp_path / "03.txt"
    notebooks.main(["build"])
    assert notebooks.main(["totext", "03", str(file)]) == 0
    before = course_build.plain(
        nbformat.read(course / "solutions" / "03_saddles_and_damping.ipynb", as_version=4)
    )
    assert notebooks.main(["fromtext", "03", str(file)]) == 0
    assert notebooks.main(["build", "03"]) == 0
    after = nbformat.read(course / "solutions" / "03_saddles_and_damping.ipynb", as_version=4)
    assert course_build.plain(after) == before
    file.write_text("%% markdown\n# 04 · New\n")
    assert notebooks.main(["fromtext", "04", str(file)]) == 0
    assert (course / "solutions" / "04_hessian_vector_products.ipynb").is_file()
    with pytest.raises(SystemExit, match="needs a number and a file"):
        notebooks.main(["fromtext", "04"])
