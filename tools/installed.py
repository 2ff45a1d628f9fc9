"""Is what the pins ask for installed? `python tools/installed.py requirements.txt`, for setup.sh.

Says what is missing, damaged or at another version, and then ends with code 1; with `--damaged` it
only lists the pins of packages whose files are gone though pip takes them for installed. It looks
at names of folders and at one file of each package, and imports none: the answer comes in a tenth
of a second, with each `make`.
"""

import re
import sys
import sysconfig
from pathlib import Path

DAMAGED = "files are missing"


def found(folders):
    """`{name: (version, its .dist-info folder)}` of what is installed there."""
    there = {}
    for folder in folders:
        for info in Path(folder).glob("*.dist-info"):
            name, _, version = info.name.removesuffix(".dist-info").partition("-")
            # A local part such as +cpu names a build of the pinned version.
            there.setdefault(canonical(name), (version.split("+")[0], info))
    return there


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def asked(lines):
    """(name, version, marker) of each pin; no marker is an empty text."""
    for line in lines:
        pin, _, marker = line.split("#")[0].partition(";")
        name, equals, version = pin.strip().partition("==")
        if equals:
            yield canonical(name), version.strip(), marker.strip()


def whole(info):
    """Whether the first file of the package itself, by its own list, is there."""
    try:
        with (info / "RECORD").open(encoding="utf-8") as lines:
            for line in lines:
                path = line.split(",")[0].strip('"')
                if not path.startswith((info.name, "..")):
                    return (info.parent / path).exists()
    except OSError:
        return False
    return True


def wrong(lines, folders):
    """(pin, what is wrong) of each pin that is not met."""
    there = found(folders)
    for name, version, marker in asked(lines):
        pin = f"{name}=={version}"
        if name in there:
            other, info = there[name]
            if other != version:
                yield pin, other
            elif not whole(info):
                yield pin, DAMAGED
        elif not marker or _holds(marker):
            yield pin, "missing"


def _holds(marker):
    from pip._vendor.packaging.markers import Marker

    return Marker(marker).evaluate()


if __name__ == "__main__":
    *options, path = sys.argv[1:]
    places = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    unmet = list(wrong(Path(path).read_text(encoding="utf-8").splitlines(), places))
    if options == ["--damaged"]:
        print(*(pin for pin, said in unmet if said == DAMAGED))
        sys.exit()
    if "rlhf-lib" not in found(places):
        unmet.append(("rlhf-lib", "missing"))
    if unmet:
        sys.exit("Not as pinned: " + ", ".join(f"{pin} ({said})" for pin, said in unmet))
