"""Known vulnerabilities of the pins, by pip-audit: `make audit`, where its database can be asked.

Code 1 for a vulnerability, 2 where nothing could be asked.
"""

import json
import subprocess
import sys


def report(answer):
    """(lines to print, exit code) for pip-audit's JSON, or for None."""
    packages = json.loads(answer)["dependencies"] if answer else []
    asked = [package for package in packages if "vulns" in package]
    lines = [
        f"{package['name']} {package['version']}: {vulnerability['id']}, mended in "
        + (", ".join(vulnerability["fix_versions"]) or "no version yet")
        for package in asked
        for vulnerability in package["vulns"]
    ]
    if not asked:
        said = "no database of vulnerabilities could be asked from here; try where the network is"
        return [f"Nothing is known of the {len(packages)} pins: {said}."], 2
    without = len(packages) - len(asked)
    lines.append(
        f"{len(lines)} known vulnerabilities in {len(asked)} pins"
        + (f"; of {without} more nothing is known." if without else ".")
    )
    return lines, int(len(lines) > 1)


def main():
    command = ["-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner", "off"]
    done = subprocess.run(
        [sys.executable, *command, "--format", "json", "--requirement", "requirements.txt"],
        stdout=subprocess.PIPE,
        text=True,
    )
    lines, code = report(done.stdout)
    print(*lines, sep="\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
