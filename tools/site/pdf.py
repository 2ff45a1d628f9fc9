"""The course on paper: python -m tools.site.pdf [SITE] [PDF], book.html printed by a Chromium."""

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from rlhf_course.doctor import CHROMIUM_CURE, chromium_flags, find_chromium
from tools.site.links import ROOT

FOOT = (
    '<div style="width:100%;text-align:center;font:8px sans-serif">'
    '<span class="pageNumber"></span></div>'
)


def print_book(site, pdf):
    """Print the book of a site, with its headings as bookmarks. Raises RuntimeError without one."""
    if find_chromium() is None:
        raise RuntimeError(f"The PDF is printed by a Chromium, and none was found. {CHROMIUM_CURE}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=chromium_flags())
        page = browser.new_page()
        page.goto((Path(site) / "book.html").resolve().as_uri())
        # Pictures that wait to be scrolled to, and what is folded, are wanted on paper, too.
        page.evaluate(
            "async () => { document.querySelectorAll('details').forEach(d => { d.open = true; });"
            " const images = [...document.images];"
            " images.forEach(image => { image.loading = 'eager'; });"
            " await Promise.all(images.map(image => image.decode())); }"
        )
        page.pdf(
            path=pdf,
            prefer_css_page_size=True,
            print_background=True,
            outline=True,
            tagged=True,
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=FOOT,
        )
        browser.close()
    return Path(pdf)


if __name__ == "__main__":
    given = [Path(name) for name in sys.argv[1:]]
    site, pdf = [*given, *[ROOT / "build" / "site", ROOT / "build" / "course.pdf"][len(given) :]]
    made = print_book(site, pdf)
    print(f"{made.resolve().as_uri()} ({made.stat().st_size / 1e6:.1f} MB)")
