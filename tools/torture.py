"""Kills, storms and full disks, in figures: python tools/torture.py, or make torture.

Each part does something many times while it is killed, interrupted, run twice at once or denied
room, and counts what was reported as finished and is lost afterwards, and what cannot be read.
`--only NAME ...` takes some parts, `--share 0.05` a part of the times, `--seed` other moments.
Code 1 when anything is lost. Needs a system that forks (Linux, macOS).
"""

import argparse
import contextlib
import gc
import io
import json
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import time
import warnings
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rlhf_course import studies
from rlhf_course.checking import progress
from rlhf_course.studies import Study
from rlhf_lib import RLHFOptimizer, linearize
from rlhf_lib.disk import locked, replacing
from rlhf_lib.panels import Panel, figures, slider
from rlhf_lib.select import Journal, LambdaSearch
from tools import evidence

LAMBDAS = (1.0, 0.1, 0.01)
DEADLOCK = 30.0  # seconds
NOBODY = 65534


# -- children that are killed


class Child:
    """A fork that runs `job(report)`; `reported` are the lines that it reported before its end."""

    def __init__(self, job, limit=None, readonly=None):
        self._read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._run(job, write, limit, readonly)
        os.close(write)

    def _run(self, job, write, limit, readonly):
        os.close(self._read)
        code = 0
        try:
            warnings.simplefilter("ignore")
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if readonly is not None:
                readonly.chmod(0o555)
                if os.geteuid() == 0:  # for whom no folder is read-only
                    os.setuid(NOBODY)
            if limit is not None:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            job(lambda line: os.write(write, f"{line}\n".encode()))
        except KeyboardInterrupt:
            code = 130
        except OSError:
            code = 3
        except BaseException as error:
            os.write(2, f"unexpected {type(error).__name__}: {error}\n".encode())
            code = 9
        finally:
            os._exit(code)

    def end(self, number=None):
        """(the exit code, what was reported); a signal of this number ends it now."""
        if number is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
        with os.fdopen(self._read) as lines:
            reported = lines.read().splitlines()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]), reported


def stormed(times, job, held, make, span, rng):
    """Kill and interrupt `job` so often; (kills, reported, lost, unreadable).

    make(i) -> where the i-th round works. held(where) -> what is on the disk there, an error where
    that cannot be read. Every third round has four children at once.
    """
    kills = reported = lost = unreadable = 0
    seen = {}
    for i in range(times):
        where = make(i)
        children = [Child(partial(job, where)) for _ in range(1 if i % 3 else 4)]
        time.sleep(rng.uniform(0, span))
        for k, child in enumerate(children):
            code, lines = child.end((signal.SIGKILL, signal.SIGINT)[(i + k) % 2])
            kills += 1
            unreadable += code == 9
            seen.setdefault(where, set()).update(lines)
            reported += len(lines)
        try:
            lost += len(seen[where] - held(where))
        except Exception as error:
            print(f"  unreadable: {type(error).__name__}: {error}")
            unreadable += 1
    return kills, reported, lost, unreadable


def say(name, kills, reported, lost, unreadable):
    print(
        f"{name}: {kills} kills and interrupts, {reported} reported as finished, {lost} lost, "
        f"{unreadable} unreadable",
        flush=True,
    )
    return lost + unreadable


# -- what is on the disk


def fit(train, validation, lambdas, seed):
    for value in lambdas:
        time.sleep(0.0005)
        yield {"loss": value * (1 + int(validation[0])) + seed}


def search(path, report):
    told = 0
    for found in LambdaSearch(fit, 40, LAMBDAS, folds=5, seeds=range(40), resume=path):
        for way in found.paths[told:]:
            report(f"{way.seed} {way.fold} {way.scores[0]['loss']!r}")
        told = found.finished


def paths_on_disk(path):
    if not path.exists():
        return set()
    with warnings.catch_warnings(record=True):  # lines of the killed are named and set aside
        warnings.simplefilter("always")
        asked = LambdaSearch(fit, 40, LAMBDAS, folds=5)._asked() | {"folds": 5}
        rows = Journal(path, asked).rows
    return {f"{r['seed']} {r['fold']} {r['scores'][0]['loss']!r}" for r in rows}


STUDY = Study(
    about="Squares.",
    runs=lambda: [{"n": n} for n in range(400)],
    run=lambda settings: time.sleep(0.0005) or {"square": settings["n"] ** 2},
)


def record(folder, report):
    evidence.RECORDED, studies.names, studies.study = folder, lambda: ["nb99"], lambda name: STUDY
    sys.argv = ["evidence.py", "nb99"]

    class Told(io.StringIO):
        def write(self, text):
            if text.startswith("    "):
                report(text.strip())

    with contextlib.redirect_stdout(Told()):
        try:
            evidence.main()
        except SystemExit as error:
            if error.code not in (None, 130):
                raise OSError(str(error)) from None


def runs_on_disk(folder):
    path = folder / "nb99.json"
    runs = json.loads(path.read_text())["runs"] if path.exists() else []
    return {json.dumps(run["settings"]) for run in runs}


def notes(folder, report):
    os.environ["RLHF_DATA_DIR"] = str(folder)
    for _ in range(60):
        name = f"00.{random.SystemRandom().randrange(10**9)}"
        if said := progress.note(name):
            raise OSError(said)
        report(name)


def notes_on_disk(folder):
    path = folder / "progress.json"
    return set(json.loads(path.read_text())["solved"]) if path.exists() else set()


def saves(path, report):
    for i in range(200):
        try:
            with replacing(path) as part:
                save_file({"a": torch.full((20_000,), float(i))}, part)
        except SafetensorError as error:
            raise OSError(str(error)) from None
        report("whole")


def whole_on_disk(path):
    if not path.exists():
        return set()
    return {"whole"} if load_file(path)["a"].unique().numel() == 1 else set()


# name -> what is done, what is read, is its place a file, seconds until a kill at the most
ON_DISK = {
    "journal": (search, paths_on_disk, True, 0.15),
    "evidence": (record, runs_on_disk, False, 0.15),
    "progress": (notes, notes_on_disk, False, 0.1),
    "saves": (saves, whole_on_disk, True, 0.1),
}


def kills(name, times, rng, folder):
    """Killed and interrupted at random moments, sometimes four at once; ten rounds on one place."""
    job, held, is_file, span = ON_DISK[name]

    def make(i):
        where = folder / f"{name}-{i // 10}"
        where.mkdir(exist_ok=True)
        return where / "file" if is_file else where

    return say(name, *stormed(times, job, held, make, span, rng))


def no_room(times, rng, folder):
    """Files that may not grow over a random size, and folders that cannot be written to."""
    bad, refused = 0, 0
    for name, (job, held, is_file, _) in ON_DISK.items():
        for i in range(times):
            where = folder / f"full-{name}-{i}"
            where.mkdir()
            place = where / "file" if is_file else where
            limit = rng.randrange(20, 100_000 if name == "saves" else 4_000)
            code, told = Child(partial(job, place), limit=limit).end()
            refused += code == 3
            bad += code == 9 or bool(set(told) - held(place))
            before = held(place)
            where.chmod(0o777)
            code, told = Child(partial(job, place), readonly=where).end()
            refused += code == 3
            where.chmod(0o777)
            bad += code == 9 or bool((set(told) | before) - held(place))
    print(f"no_room: {8 * times} times, {refused} refused with an OSError, {bad} lost or unclear")
    return bad


# -- steps


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3))


def stepper(model, seed=0, rows=64):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 6, generator=generator)
    y = torch.randint(3, (rows,), generator=generator)

    def closure():
        outputs = model(x)
        return torch.nn.functional.cross_entropy(outputs, y), outputs

    return closure


def state_of(model, optimizer):
    values = [p.detach().clone() for p in model.parameters()]
    for state in optimizer.state.values():
        values += [torch.as_tensor(v).clone() for v in state.values() if isinstance(v, int | float)]
    return torch.cat([v.flatten().double() for v in values])


def steps(times, rng, folder):
    """SIGINT within steps: the state is that before or after a step, and the run the same."""
    model, count = network(), 8
    optimizer = RLHFOptimizer(model.parameters(), lambda_reg=1e-3)
    closure, states = stepper(model), []
    for _ in range(count):
        states.append([p.detach().clone() for p in model.parameters()])
        since = time.perf_counter()
        optimizer.step(closure)
        seconds = time.perf_counter() - since
    final = [p.detach().clone() for p in model.parameters()]
    states.append(final)

    def interrupt(*_):
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGALRM, interrupt)
    torn = other = done = 0
    try:
        while done < times:
            model = network()
            optimizer = RLHFOptimizer(model.parameters(), lambda_reg=1e-3)
            closure, k = stepper(model), 0
            while k < count:
                try:
                    signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-5, 2 * seconds))
                    optimizer.step(closure)
                    signal.setitimer(signal.ITIMER_REAL, 0)
                    k += 1
                except KeyboardInterrupt:
                    done += 1
                    same = [
                        all(map(torch.equal, model.parameters(), state))
                        for state in states[k : k + 2]
                    ]
                    torn += not any(same)
                    k += same[-1] and not same[0]
                    if torn:
                        break
            other += not all(map(torch.equal, model.parameters(), final))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
    print(f"steps: {done} interrupts within a step, {torn} torn states, {other} other ends")
    return torn + other


# -- panels


def resident():
    """MiB that this process holds now."""
    gc.collect()
    pages = Path("/proc/self/statm")
    if pages.exists():
        return int(pages.read_text().split()[1]) * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


class Watched:
    """A figure that sees whether an older run draws over a newer one."""

    def __init__(self):
        self.widget, self.keep, self.last, self.older = figures.Curves({"y": "y"}).widget, 0, -1, 0

    def begin(self, label):
        pass

    def draw(self, records, values):
        run = records[-1].run
        self.older += run < self.last
        self.last = max(run, self.last)

    def clear(self):
        pass

    def forget(self, label):
        pass


def panels(times, rng, folder):
    """Random presses from three threads: no deadlock, no older run over a newer one."""
    figure, number = Watched(), iter(range(10**9))

    def generate(lam):
        mine = next(number)
        for step in range(6):
            time.sleep(0.0003)
            yield SimpleNamespace(step=step, y=lam, run=mine)

    panel = Panel(generate, [slider("lam", "λ", low=0, high=1, step=0.001, value=0.5)], [figure])
    control, hung, wrong, before = panel._controls["lam"], 0, 0, 0.0

    def press(seed):
        mine = random.Random(seed)
        for _ in range(5):
            what = mine.choice(["set", "run", "stop", "reset", "clear"])
            if what == "set":
                control.widget.value = mine.random()
            else:
                {"run": panel._start, "stop": panel.stop, "reset": panel.reset,
                 "clear": panel.clear}[what]()  # fmt: skip
            time.sleep(mine.random() * 0.002)

    for i in range(times):
        if i == times // 5:
            before = resident()
        threads = [threading.Thread(target=press, args=(rng.random(),)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLOCK)
            hung += thread.is_alive()
        hung += not panel.wait(DEADLOCK)
        if hung:
            break
        wrong += [r.y for r in panel.run(lam=0.25)] != [0.25] * 6
    grown = resident() - before
    panel.close()
    print(
        f"panels: {times} sequences, {hung} deadlocks, {figure.older} older runs over newer ones, "
        f"{wrong} wrong ends, {grown:+.1f} MiB over the last four fifths"
    )
    return hung + figure.older + wrong + (grown > 20)


def closed(times, rng, folder):
    """Panels made, run and closed: memory stays flat."""
    from ipywidgets.widgets.widget import _instances

    widgets, before = len(_instances), 0.0
    for i in range(times):
        if i == times // 5:
            widgets, before = len(_instances), resident()
        panel = Panel(
            lambda lam: (SimpleNamespace(step=s, y=lam) for s in range(200)),
            [slider("lam", "λ", low=0, high=1, step=0.001, value=0.5)],
            [figures.Curves({"y": "y"}), figures.Curves({"y": "y"})],
        )
        panel._repr_mimebundle_()
        panel.run()
        panel.close()
    grown, left = resident() - before, len(_instances) - widgets
    print(
        f"closed: {times} panels, {left} widgets left, {grown:+.1f} MiB over the last four fifths"
    )
    return left + (grown > 20)


def batches(times, rng, folder):
    """Steps with batches of changing sizes: memory stays flat."""
    model, before = network(), 0.0
    optimizer = RLHFOptimizer(model.parameters(), lambda_reg=1e-3)
    for i in range(times):
        if i == times // 5:
            before = resident()
        optimizer.step(stepper(model, seed=i, rows=rng.randrange(8, 400)))
    grown = resident() - before
    print(f"batches: {times} steps, {grown:+.1f} MiB over the last four fifths")
    return int(grown > 20)


# -- the network


def offline(times, rng, folder):
    """What the library and the course do asks nothing of another host, even where it could."""

    def job(report):
        def heard(event, arguments):
            if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
                place = arguments[0] if event == "socket.getaddrinfo" else arguments[1]
                report(f"{event} {place}")

        sys.addaudithook(heard)
        os.environ.pop("HF_HUB_OFFLINE", None)
        from rlhf_course import check
        from rlhf_course import progress as shown
        from rlhf_lib.text import load_dataset, load_model

        load_model()
        load_dataset("course-reviews")
        check("00.same_rest", "AB")
        str(shown())
        search(folder / "offline", lambda line: None)
        panel = Panel(lambda: [SimpleNamespace(step=0, y=1.0)], [], [figures.Curves({"y": "y"})])
        panel._repr_mimebundle_()
        model, x = network(), torch.randn(12, 6)
        linearize(model, (x, torch.arange(12) % 3)).run(0.1)
        report("done")

    os.environ["RLHF_DATA_DIR"] = str(folder / "offline-data")
    code, told = Child(job).end()
    asked = [line for line in told if line != "done"]
    print(f"offline: {len(asked)} requests" + "".join(f"\n  {line}" for line in asked))
    return len(asked) + ("done" not in told) + (code == 9)


PARTS = {
    **{name: (200, partial(kills, name)) for name in ON_DISK},
    "no_room": (25, no_room),
    "steps": (200, steps),
    "panels": (500, panels),
    "closed": (100, closed),
    "batches": (300, batches),
    "offline": (1, offline),
}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="NAME")
    parser.add_argument("--share", type=float, default=1.0, help="of the times")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # a fork has no other threads
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with locked(Path(folder) / "imported before folders cannot be read"):
            pass
        for name in options.only:
            times, part = PARTS[name]
            since = time.perf_counter()
            bad += part(
                max(1, round(times * options.share)), random.Random(options.seed), Path(folder)
            )
            print(f"  {time.perf_counter() - since:.0f} s", flush=True)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
