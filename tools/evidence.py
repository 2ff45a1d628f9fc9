"""Run the course's studies and record them: python tools/evidence.py nb10_sst2 --data FOLDER

Runs what `rlhf_course/recorded/NAME.json` does not hold yet, and writes it after each run, so an
interrupted study goes on where it was; a run that raises is named and the others go on. A study
that tunes has its values tried first; what judges them is run when all of these are recorded, at
what its rule chose. A study with looks takes its seeds in batches, and no more of them when its
questions are decided, its cap is reached, or no number would decide. `--list` says what there is
and what is missing; `--again` starts from nothing. Without names it takes all studies whose files
are there.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import datetime
import json
import multiprocessing
import os
import platform
import signal
import threading
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from rlhf_course import studies
from rlhf_course.recorded import FOLDER, Document, NotRecorded, key
from rlhf_lib.disk import locked, replacing

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
    if options.jobs < 1:
        parser.error(f"--jobs: expected at least 1, got {options.jobs}")

    failed = 0
    if options.data:
        os.environ[studies.DATA_VARIABLE] = options.data
    for name in options.names or studies.names():
        study = studies.study(name)
        print(f"{name}: {study.about}", flush=True)
        try:
            failed += pursue(name, study, options)
        except KeyboardInterrupt:
            print("  interrupted: what is listed here is recorded", flush=True)
            raise SystemExit(130) from None
    if failed:
        raise SystemExit(f"{failed} failed, all others are recorded; run it again for these alone")


def pursue(name: str, study, options: argparse.Namespace) -> int:
    """Run what the record asks for until it asks for nothing more; how many runs failed.

    What tunes and what judges is asked for in portions, each after what the last one gave. A run
    that failed is not tried again by this command, and nothing that needs it is run.
    """
    done = {} if options.again else finished(name)
    again, said, failed = options.again and not options.list, set(), set()
    while True:
        ran = False
        for phase, settings in phases(study, done):
            todo = [s for s in settings if key(s) not in done]
            line = f"  {phase}{len(settings) - len(todo)} recorded, {len(todo)} to run"
            if line not in said:
                print(line, flush=True)
            said.add(line)
            todo = [s for s in todo if not options.only or options.only in key(s)]
            todo = [s for s in todo if key(s) not in failed]
            if options.list or not todo:
                continue
            try:
                for file in study.files:
                    studies.data_file(file)
            except FileNotFoundError as error:
                if options.names:
                    raise SystemExit(str(error)) from None
                print(f"  skipped: {error}")
                return len(failed)
            if again:
                (RECORDED / f"{name}.json").unlink(missing_ok=True)
                again = False
            failed |= record(name, study, done, todo, options.jobs)
            ran = True
            break  # what is asked for next hangs on what came
        if not ran:
            for line in looks(study, done):
                print(f"  {line}", flush=True)
            return len(failed)


def phases(study, done: dict[str, dict]) -> Iterator[tuple[str, list[dict]]]:
    """Name and settings of each phase; the second is made from what `done` holds after the first.

    As long as a run that tunes is missing it is not made, and said so.
    """
    document = as_document(done)
    if study.tunes:
        yield "tuning: ", study.tuning(document)
    try:
        yield "judging: " if study.tunes else "", study.judging(document)
    except NotRecorded:
        print("  judging: not known before all that tunes is recorded", flush=True)


def looks(study, done: dict[str, dict]) -> Iterator[str]:
    """What each look at the seeds has said, and why no more are run."""
    if not study.looks:
        return
    try:
        looked = study.looked(as_document(done))
    except NotRecorded:
        return
    for look in looked:
        words = "; ".join(f"{name}: {word}" for name, word in look.words.items())
        yield f"after {look.seeds} seeds: {words}"
    cap = study.looks[-1]
    if looked and looked[-1].ends:
        yield f"ended after {looked[-1].seeds} of at most {cap} seeds: {looked[-1].ends}"
    else:
        yield f"the next look is after {study.looks[len(looked)]} of at most {cap} seeds"


def finished(name: str) -> dict[str, dict]:
    """The recorded runs by their settings. Raises SystemExit for a file that is damaged."""
    path = RECORDED / f"{name}.json"
    try:
        runs = json.loads(path.read_bytes())["runs"] if path.is_file() else []
        return {key(run["settings"]): run for run in runs}
    except (ValueError, KeyError, TypeError) as error:
        raise SystemExit(
            f"{path} is damaged ({error}): put it back with git, or begin anew with --again"
        ) from None


def record(name: str, study, done: dict[str, dict], todo: list[dict], jobs: int) -> set[str]:
    """Run these and write after each, so that what is done is kept; those that have failed."""
    failed, before = set(), len(done)
    try:
        for settings, found in outcomes(name, todo, jobs):
            if isinstance(found, BaseException):
                failed.add(key(settings))
                print(f"    FAILED {key(settings)}: {type(found).__name__}: {found}", flush=True)
                continue
            done[key(settings)] = found
            keep(name, study, done)
            print(f"    {key(settings)}", flush=True)
    finally:  # an interrupt may have come between a run's end and its writing
        if len(done) > before:
            keep(name, study, done, tidy=True)
    return failed


def outcomes(name: str, todo: list[dict], jobs: int) -> Iterator[tuple[dict, Any]]:
    """The settings of each run with what came of it, or its error, as they come.

    One job runs here. More are processes of their own, which end when this is interrupted.
    """
    if jobs == 1:
        for settings in todo:
            try:
                found = one(name, settings)
            except (Exception, SystemExit) as error:
                found = error
            yield settings, found
        return
    stop = threading.Event()
    former = signal.signal(signal.SIGINT, lambda *_: stop.set())
    pool = concurrent.futures.ProcessPoolExecutor(
        jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    )
    try:
        left = {pool.submit(one, name, settings): settings for settings in todo}
        while left:
            ended, _ = concurrent.futures.wait(
                left, 0 if stop.is_set() else 0.5, concurrent.futures.FIRST_COMPLETED
            )
            for future in ended:
                yield left.pop(future), future.exception() or future.result()
            if stop.is_set() and not ended:
                raise KeyboardInterrupt
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in multiprocessing.active_children():
            worker.terminate()
        signal.signal(signal.SIGINT, former)


def keep(name: str, study, done: dict[str, dict], *, tidy: bool = False) -> None:
    """Write what is done, with what another process has recorded meanwhile.

    tidy: in the order of the study, without what is none of its own any more, and with what its
        looks have said; in between, runs stand as they came.
    """
    path = RECORDED / f"{name}.json"
    with locked(path):
        done |= {k: run for k, run in finished(name).items() if k not in done}
        runs = in_order(study, done) if tidy else list(done.values())
        document = header(name, study, as_document(done) if tidy else None) | {"runs": runs}
        text = json.dumps(document, indent=None, separators=(",", ":"))
        with replacing(path) as part:
            # One run a line, for a diff that can be read.
            part.write_text(text.replace('{"settings"', '\n{"settings"') + "\n")


def as_document(done: dict[str, dict]) -> Document:
    """What is done as a record that is read."""
    return Document({"runs": list(done.values())})


def in_order(study, done: dict[str, dict]) -> list[dict]:
    """The runs in the order of the study, without those that are none of its own any more.

    Which ones judge is known when all that tunes is there; until then the others are kept.
    """
    document = as_document(done)
    tuning = [key(settings) for settings in study.tuning(document)]
    try:
        others = [key(settings) for settings in study.judging(document)]
    except NotRecorded:
        others = [k for k in done if k not in tuning]
    return [done[k] for k in [*tuning, *others] if k in done]


def one(name: str, settings: dict) -> dict:
    """One run on one thread, so that its result does not depend on what else runs."""
    import torch

    from rlhf_lib.timing import timed

    torch.set_num_threads(1)
    seconds, result = timed(lambda: studies.study(name).run(settings))
    today = datetime.date.today().isoformat()
    json.dumps(result)  # here, where an error is that of this run
    return {
        "settings": settings,
        "result": result,
        "seconds": round(seconds.wall, 1),
        "date": today,
    }


def header(name: str, study, document: Document | None) -> dict:
    """What is said before the runs: how they were made, and of a document what its looks said."""
    try:
        looked = study.looked(document) if document is not None else []
    except NotRecorded:
        looked = []
    return {
        "study": name,
        "about": study.about,
        "command": f"make evidence STUDY={name}" + (" DATA=FOLDER" if study.files else ""),
        "files": list(study.files),
        "date": datetime.date.today().isoformat(),
        "device": f"{platform.machine()} CPU, one thread, torch {version('torch')}",
        "version": version("rlhf-lib"),
    } | (
        {"looks": [{"seeds": k.seeds, **k.words, "ends": k.ends} for k in looked]} if looked else {}
    )


if __name__ == "__main__":
    main()
