"""The pages of `make site` from their files, as a reader without Python or network meets them."""

import json
import re
import urllib.error
from urllib.parse import unquote, urldefrag

import bs4
import pytest
from axe_playwright_python.sync_playwright import Axe
from lab import PATIENCE, ROOT

from tools.site.__main__ import build

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FIRST_PAGE = 1_000_000  # bytes, without plotly


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages") / "site"
    build(folder)
    return folder


@pytest.fixture
def reader(chromium):
    """`reader(path, **context)` opens a page; at the end nothing was outside and nothing failed.

    `reader.asked` are the addresses of all requests.
    """
    contexts, noise = [], []

    def failed(request):
        if request.failure != "net::ERR_ABORTED":  # a page was left before its icon had come
            noise.append(f"{request.url}: {request.failure}")

    def look(path, **settings):
        settings = {"viewport": {"width": 1440, "height": 900}} | settings
        contexts.append(chromium.new_context(**settings))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.on("console", lambda m: m.type in ("error", "warning") and noise.append(m.text))
        page.on("pageerror", lambda error: noise.append(str(error)))
        page.on("requestfailed", failed)
        page.on("request", lambda request: look.asked.append(request.url))
        page.goto(path.as_uri())
        return page

    look.asked = []
    yield look
    for context in contexts:
        context.close()
    assert noise == []
    assert [url for url in look.asked if not url.startswith(("file:", "data:", "blob:"))] == []


def own(site):
    """The pages of the course; those of the API are pdoc's."""
    return sorted(site.glob("*.html"))


def test_every_link_leads_somewhere(site):
    soups = {path: bs4.BeautifulSoup(path.read_text(), "html.parser") for path in own(site)}
    ids = {path: {tag["id"] for tag in soup.find_all(id=True)} for path, soup in soups.items()}
    broken = []
    for path, soup in soups.items():
        assert len(ids[path]) == len(soup.find_all(id=True)), f"{path.name}: an id twice"
        for tag in soup.find_all(["a", "link", "img", "script"]):
            target = tag.get("href") or tag.get("src") or ""
            if (target.startswith(("http:", "https:")) and tag.name == "a") or not target:
                continue
            address, anchor = urldefrag(target)
            there = (site / unquote(address)).resolve() if address else path
            if not there.is_file() or (anchor and unquote(anchor) not in ids.get(there, ())):
                broken.append(f"{path.name}: {target}")
    assert broken == []


def test_pages_fit_a_phone_and_are_accessible_in_both_themes(site, reader):
    page, seen = reader(site / "index.html", viewport={"width": 390, "height": 844}), []
    for path in own(site):
        if path.name != "book.html":
            page.goto(path.as_uri())
            wide = page.evaluate("document.documentElement.scrollWidth")
            seen += [f"{path.name}: {wide} pixels wide on a phone"] * (wide > 390)
    for name, theme in [
        ("index.html", "light"),
        ("glossary.html", "dark"),
        ("05_conjugate_gradients.html", "light"),
        ("05_conjugate_gradients.html", "dark"),
    ]:
        page = reader(site / name, color_scheme=theme)
        assert page.evaluate("document.body.dataset.theme") == theme
        # Formulas are hundreds of nodes that hold nothing but text; styles are read in the page.
        around = {"include": [["html"]], "exclude": [["math"]]}
        found = Axe().run(page, context=around, options={"preload": False}).response
        seen += [f"{name}, {theme}: {v['id']}: {v['nodes'][0]}" for v in found["violations"]]
    assert reader(site / "api" / "index.html").title()
    assert seen == []


def test_the_first_page_is_small(site, reader):
    reader(site / "index.html")
    paths = {unquote(urldefrag(url)[0].removeprefix("file://")) for url in reader.asked}
    assert len(paths) > 3 and sum((site / path).stat().st_size for path in paths) < FIRST_PAGE


def test_a_reader_searches_predicts_and_unfolds(site, reader):
    page = reader(site / "03_saddles_and_damping.html")

    # Search by keys: begun words, a Greek letter by its name, and on to the section.
    page.keyboard.press("/")
    page.get_by_role("searchbox").fill("lambda conj grad")
    page.locator("#found").get_by_text("section").wait_for()
    assert {"λ", "conj"} & {mark.inner_text() for mark in page.locator("#results mark").all()}
    page.get_by_role("searchbox").fill("saddle-free Newton")
    page.locator("#found").get_by_text("1 section", exact=True).wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/03_saddles_and_damping.html#What-this-did-not-show")
    page.keyboard.press("/")
    page.get_by_role("searchbox").fill("<b>(nothing")
    page.get_by_text("Nothing has “<b>(nothing”.").wait_for()
    page.keyboard.press("Escape")

    # A prediction is kept in the browser, and stands beside the result.
    asked, told = page.locator(".entry").all()[0], page.locator(".entry").all()[2]
    asked.get_by_label("at the saddle").check()
    assert "You predicted: at the saddle" in told.inner_text()
    told.get_by_role("button").click()
    assert "As you said." in told.inner_text()
    page.reload()
    assert page.get_by_label("at the saddle").first.is_checked()
    number = page.locator(".entry").all()[1]
    number.get_by_role("spinbutton").fill("1e-")
    number.get_by_role("spinbutton").press("Enter")
    number.get_by_text("a number such as").wait_for()

    # Code, hints and the theme.
    code = page.locator("details.code pre").first
    assert not code.is_visible()
    page.get_by_role("button", name="Show all code").click()
    assert code.is_visible()
    hint = page.locator(".exercise details").first
    hint.locator("summary").press("Enter")
    assert hint.get_attribute("open") is not None
    page.get_by_role("button", name="Dark theme").click()
    page.reload()
    assert page.evaluate("document.body.dataset.theme") == "dark" and code.is_visible()


def test_formulas_are_laid_out(site, reader):
    page = reader(site / "05_conjugate_gradients.html")
    page.evaluate("document.fonts.ready")
    assert page.evaluate("document.fonts.check('16px \"Course Math\"', '∑')")
    high = page.locator("mfrac").first.bounding_box()["height"]
    assert high > 1.3 * page.locator("mi").first.bounding_box()["height"]


def test_the_container_s_health_check_knows_a_jupyterlab(lab):
    code = json.loads(re.search(r"CMD (\[\"\.venv.*\])", (ROOT / "Dockerfile").read_text())[1])[2]
    exec(code.replace("http://127.0.0.1:8888/", lab.url))
    with pytest.raises(urllib.error.URLError):
        exec(code.replace(":8888/", ":1/"))


def test_without_scripts_everything_can_be_read(site, reader):
    page = reader(site / "03_saddles_and_damping.html", java_script_enabled=False)
    assert page.get_by_text("at the saddle (0, 0)", exact=True).is_visible()
    page.get_by_text("Show the result").first.click()
    assert page.get_by_text("It is: at the saddle (0, 0).").is_visible()
