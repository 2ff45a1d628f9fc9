"""Tables of cells: the same text and HTML each time, numbers written as asked."""

import pandas
import pytest

from rlhf_course import Table

ROWS = [
    {"method": "CG <b>", "loss": 0.62131, "products": 24},
    {"method": "sample space", "loss": None, "products": 8},
]


def test_text_and_html_show_caption_rows_and_formats():
    table = Table(ROWS, caption="Two solvers", formats={"loss": ".3f"})
    text = repr(table)
    assert text.splitlines()[0] == "Two solvers" and "0.621" in text and "–" in text
    page = table._repr_html_()
    assert page == Table(ROWS, caption="Two solvers", formats={"loss": ".3f"})._repr_html_()
    assert "<caption>Two solvers</caption>" in page and "CG &lt;b&gt;" in page
    assert "0.62131" not in page


def test_a_frame_is_taken_as_it_is_and_left_so():
    frame = pandas.DataFrame({"n": [1, 2], "x": [0.123456, float("nan")]})
    table = Table(frame)
    assert "0.1235" in repr(table) and "–" in repr(table)
    assert frame["x"][0] == 0.123456


def test_a_format_of_no_column_is_refused():
    with pytest.raises(ValueError, match=r"expected columns out of .*loss.*, got los"):
        Table(ROWS, formats={"los": ".3f"})


@pytest.mark.parametrize("text", ["<img src=x onerror=alert(1)>", "&lt;", "<b>", "</script>"])
def test_texts_are_no_markup_in_caption_columns_and_cells(text):
    page = Table([{text: text, "loss": 1.0}], caption=text)._repr_html_()
    assert page.count(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")) == 3
    assert text == "&lt;" or text not in page
