"""Run the course's studies and record them: python tools/evidence.py nb10_sst2 --data FOLDER

Runs what `rlhf_course/recorded/NAME.json` does not hold yet, and writes it after each run, so an
interrupted study goes on where it was. A study that tunes has its values tried first; what judges
them is run when all of these are recorded, at what its rule chose. `--list` says what there is and
what is missing; `--again` starts from nothing. Without names it takes all studies whose files are
there.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import datetime
import json
import multiprocessing
import os
import platform
from collections.abc import Iterator
from importlib.metadata import version

from rlhf_course.recorded import FOLDER, NotRecorded, key

RECORDED = FOLDER


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="STUDY")
    parser.add_argument("--data", help="folder of the files that are not in the project")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, of one thread each")
    parser.add_argument("--only", help="only runs whose settings hold this text, as JSON")
    parser.add_argument("--list", action="store_true", help="say what is recorded, and run nothing")
    parser.add_argument("--again", action="store_true", help="forget what is recorded")
    options = parser.parse_args()

    from rlhf_course import studies

    if options.data:
        os.environ[studies.DATA_VARIABLE] = options.data
    for name in options.names or studies.names():
        study = studies.study(name)
        print(f"{name}: {study.about}", flush=True)
        done = {} if options.again else finished(name)
        for phase, settings in phases(study, done):
            todo = [s for s in settings if key(s) not in done]
            print(f"  {phase}{len(settings) - len(todo)} recorded, {len(todo)} to run", flush=True)
            todo = [s for s in todo if not options.only or options.only in key(s)]
            if options.list or not todo:
                continue
            try:
                for file in study.files:
                    studies.data_file(file)
            except FileNotFoundError as error:
                if options.names:
                    raise SystemExit(str(error)) from None
                print(f"  skipped: {error}")
                break
            record(name, study, done, todo, options.jobs)


def phases(study, done: dict[str, dict]) -> Iterator[tuple[str, list[dict]]]:
    """Name and settings of each phase; the second is made from what `done` holds after the first.

    As long as a run that tunes is missing it is not made, and said so.
    """
    yield "tuning: " if study.judge else "", list(study.runs())
    if study.judge:
        try:
            yield "judging: ", study.judging({"runs": list(done.values())})
        except NotRecorded:
            print("  judging: not known before all that tunes is recorded", flush=True)


def finished(name: str) -> dict[str, dict]:
    """The recorded runs by their settings."""
    path = RECORDED / f"{name}.json"
    runs = json.loads(path.read_text())["runs"] if path.is_file() else []
    return {key(run["settings"]): run for run in runs}


def record(name: str, study, done: dict[str, dict], todo: list[dict], jobs: int) -> None:
    """Run these and write after each, so that what is done is kept."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context) as pool:
        waiting = {pool.submit(one, name, settings): settings for settings in todo}
        for future in concurrent.futures.as_completed(waiting):
            done[key(waiting[future])] = future.result()
            document = header(name, study) | {"runs": in_order(study, done)}
            text = json.dumps(document, indent=None, separators=(",", ":"))
            path = RECORDED / f"{name}.json"
            temporary = path.with_suffix(".part")
            # One run a line, for a diff that can be read.
            temporary.write_text(text.replace('{"settings"', '\n{"settings"') + "\n")
            temporary.replace(path)
            print(f"    {key(waiting[future])}", flush=True)


def in_order(study, done: dict[str, dict]) -> list[dict]:
    """The runs in the order of the study, without those that are none of its own any more.

    Which ones judge is known when all that tunes is there; until then the others are kept.
    """
    tuning = [key(settings) for settings in study.runs()]
    try:
        others = [key(settings) for settings in study.judging({"runs": list(done.values())})]
    except NotRecorded:
        others = [k for k in done if k not in tuning]
    return [done[k] for k in [*tuning, *others] if k in done]


def one(name: str, settings: dict) -> dict:
    """One run on one thread, so that its result does not depend on what else runs."""
    import torch

    from rlhf_course import studies
    from rlhf_lib.timing import timed

    torch.set_num_threads(1)
    seconds, result = timed(lambda: studies.study(name).run(settings))
    today = datetime.date.today().isoformat()
    return {
        "settings": settings,
        "result": result,
        "seconds": round(seconds.wall, 1),
        "date": today,
    }


def header(name: str, study) -> dict:
    return {
        "study": name,
        "about": study.about,
        "command": f"make evidence STUDY={name}" + (" DATA=FOLDER" if study.files else ""),
        "files": list(study.files),
        "date": datetime.date.today().isoformat(),
        "device": f"{platform.machine()} CPU, one thread, torch {version('torch')}",
        "version": version("rlhf-lib"),
    }


if __name__ == "__main__":
    main()
