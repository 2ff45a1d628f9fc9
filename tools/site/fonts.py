"""Makes assets/math.woff2 and assets/root.woff2 out of STIX Two Math: once, not with each site.

    pip install --target /tmp/fonts fonttools brotli
    PYTHONPATH=/tmp/fonts python tools/site/fonts.py STIXTwoMath-Regular.ttf

The first holds the signs of mathematics without the alphabets that the course does not use. The
second is for the sign of a root around what has one line: Chromium leaves room beside a root for
the widest form of its sign, so this one has a single form.
"""

import sys
from pathlib import Path

from fontTools import subset

ASSETS = Path(__file__).resolve().parent / "assets"
FEATURES = ["ccmp", "dtls", "flac", "mark", "mkmk", "ssty"]
RANGES = (
    (0x20, 0x7E), (0xA0, 0xFF), (0x300, 0x33F), (0x391, 0x3F6), (0x2010, 0x2063), (0x20D0, 0x20F0),
    (0x2100, 0x2138), (0x2190, 0x2199), (0x21A6, 0x21A6), (0x21D0, 0x21D4), (0x2200, 0x22FF),
    (0x2308, 0x230B), (0x23B4, 0x23B5), (0x23DC, 0x23E1), (0x27E8, 0x27EB), (0x2A7D, 0x2A7E),
    (0x2AAF, 0x2AB0), (0x1D434, 0x1D467), (0x1D49C, 0x1D4CF), (0x1D538, 0x1D56B),
    (0x1D6A4, 0x1D6A5), (0x1D6E2, 0x1D71B),
)  # fmt: skip


def save(source, name, characters, one_form=False):
    """Write the subset of a font with these characters to assets/name."""
    options = subset.Options(flavor="woff2", hinting=False, layout_features=FEATURES)
    options.name_IDs = [0, 1, 2, 13, 14]  # with the licence
    font = subset.load_font(source, options)
    if one_form:
        font["MATH"].table.MathVariants = None
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=characters)
    subsetter.subset(font)
    subset.save_font(font, ASSETS / name, options)


if __name__ == "__main__":
    save(sys.argv[1], "math.woff2", [c for low, high in RANGES for c in range(low, high + 1)])
    save(sys.argv[1], "root.woff2", [0x221A], one_form=True)
