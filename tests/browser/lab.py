"""A JupyterLab of our own to test in: the server, a notebook in its page, a panel in the notebook.

The server runs in a configuration of its own on a copy of the notebooks, so that neither the
user's settings nor the committed files matter or change.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil

from rlhf_course.doctor import chromium_flags

ROOT = Path(__file__).resolve().parents[2]
# Waits are for states. Their limit only ends a test that hangs, on a machine however busy.
PATIENCE = float(os.environ.get("RLHF_PATIENCE", 600))  # seconds
CHROMIUM_FLAGS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--disable-dev-shm-usage",
    # A name that is looked up all the same leads nowhere.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    *chromium_flags(),
]


class Lab:
    """A JupyterLab server of this environment; `url` ends in a slash, `token` opens it."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self._log = self.folder / "server.log"
        shutil.copytree(
            ROOT / "notebooks",
            self.folder / "root" / "notebooks",
            ignore=shutil.ignore_patterns(".ipynb_checkpoints"),
        )
        settings = self.folder / "settings" / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True)
        # JupyterLab would ask whether to fetch news, and look for a newer version.
        (settings / "notification.jupyterlab-settings").write_text(
            '{"fetchNews": "false", "checkForUpdates": false}'
        )

    def start(self):
        """Start and wait until it answers."""
        environment = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("JUPYTER", "IPYTHON"))
        }
        # Kernels and the widgets' extensions lie in the environment itself, so they are still
        # found.
        for name in (
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_DATA_DIR",
            "JUPYTER_RUNTIME_DIR",
            "IPYTHONDIR",
            "JUPYTERLAB_WORKSPACES_DIR",
        ):
            environment[name] = str(self.folder / name.lower())
        environment["RLHF_DATA_DIR"] = str(self.folder / "progress")
        environment["JUPYTERLAB_SETTINGS_DIR"] = str(self.folder / "settings")
        command = [
            sys.executable,
            "-m",
            "jupyter",
            "lab",
            "--no-browser",
            "--allow-root",
            "--ip=127.0.0.1",
            f"--port={_free_port()}",
            f"--ServerApp.root_dir={self.folder}/root",
            "--LabApp.expose_app_in_browser=True",
            "--LabApp.extension_manager=readonly",
            "--ServerApp.contents_manager_class=rlhf_course.lab.Contents",  # as make lab
        ]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"JupyterLab did not start:\n{self.log()}")
            time.sleep(0.2)

    def _answers(self):
        # The file has the port that was taken in the end.
        info = self.folder / "jupyter_runtime_dir" / f"jpserver-{self._process.pid}.json"
        try:
            found = json.loads(info.read_text())
            self.url, self.token = found["url"], found["token"]
            self.ask("GET", "api/status")
        except (OSError, ValueError):
            return False
        return True

    def ask(self, method, path):
        """A request to the server's own interface; what it answers, from JSON."""
        request = urllib.request.Request(
            self.url + path, method=method, headers={"Authorization": f"token {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.loads(answer.read() or "null")

    def end_kernels(self):
        for session in self.ask("GET", "api/sessions"):
            self.ask("DELETE", f"api/sessions/{session['id']}")

    def log(self):
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def stop(self):
        """End the server and its kernels, whatever state they are in."""
        if not hasattr(self, "_process"):
            return
        try:
            family = psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            family = []
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for process in psutil.wait_procs(family, timeout=3)[1]:
            process.kill()


class Notebook:
    """A notebook open in a page of a Lab, with a kernel that is connected."""

    def __init__(self, lab, page, name):
        self.lab, self.page = lab, page
        page.set_default_timeout(PATIENCE * 1000)
        self.noise = []  # errors in the console or of scripts
        self.asked = []  # addresses of all requests and web sockets
        page.on("console", lambda m: m.type == "error" and self.noise.append(m.text))
        page.on("pageerror", lambda error: self.noise.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("websocket", lambda websocket: self.asked.append(websocket.url))
        page.goto(f"{lab.url}lab/tree/notebooks/{name}?reset&token={lab.token}")
        # The toolbar shows an idle kernel before there is one; a Run All then does nothing.
        page.wait_for_function(
            "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel"
            "?.connectionStatus === 'connected'"
        )

    def run_all(self):
        """Run All Cells from the menu, and wait for the end of the last one."""
        # What the file has is cleared, so that each count says that a cell ran now.
        self.command("notebook:clear-all-cell-outputs")
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        self._until_run()

    def run_to(self, source):
        """Run the first cell whose source holds this text and all above it, and wait for it."""
        self.command("notebook:clear-all-cell-outputs")
        index = self.page.evaluate(
            "text => { const book = jupyterapp.shell.currentWidget.content;"
            "  const index = book.widgets.findIndex("
            "    w => w.model.type === 'code' && w.model.sharedModel.source.includes(text));"
            "  book.activeCellIndex = index; return index; }",
            source,
        )
        assert index >= 0, f"no code cell with {source!r}"
        self.command("notebook:run-all-above")
        self.command("notebook:run-cell")
        self._until_run(index)

    def _until_run(self, last=None):
        """Wait until the code cells down to this index, or all, have run, or one has failed."""
        self.page.wait_for_function(
            "last => { const cells = jupyterapp.shell.currentWidget.content.widgets;"
            "  const code = cells.slice(0, last === null ? cells.length : last + 1).filter("
            "    w => w.model.type === 'code' && w.model.sharedModel.source.trim());"
            "  const failed = w => w.model.outputs.toJSON().some(o => o.output_type === 'error');"
            "  return code.some(failed) || code.every("
            "    w => w.model.executionCount !== null && w.model.executionState === 'idle'); }",
            arg=last,
        )

    def command(self, name):
        self.page.evaluate("name => jupyterapp.commands.execute(name)", name)

    def errors(self):
        """Errors in the outputs of the cells, one line each."""
        return self.page.evaluate(
            "() => jupyterapp.shell.currentWidget.content.widgets.flatMap(w => "
            "  (w.model.outputs?.toJSON() ?? []).filter(o => o.output_type === 'error')"
            "  .map(o => `${o.ename}: ${o.evalue}`))"
        )

    def outside(self):
        """Addresses asked for that are not this server's."""
        here = tuple(kind + self.lab.url.removeprefix("http") for kind in ("http", "ws"))
        return [url for url in self.asked if not url.startswith((*here, "data:", "blob:"))]

    def panel(self, title):
        """The panel of that title, scrolled into view: JupyterLab lays out no cell before."""
        self.page.locator(".rlhf-panel", has_text=title).scroll_into_view_if_needed()
        root = self.page.get_by_role("group", name=title, exact=True)
        root.wait_for()
        return Panel(self.page, root)


class Panel:
    """A panel on a page, as its reader sees and uses it."""

    def __init__(self, page, root):
        self.page, self.root = page, root

    def slider(self, label):
        return self.root.get_by_label(label, exact=True)

    def field(self, label):
        return self.root.get_by_label(f"{label}, exact value", exact=True)

    def button(self, name):
        # Exact, because plotly's mode bar has "Reset axes".
        return self.root.get_by_role("button", name=name, exact=True)

    def press(self, name):
        """Press a button by keyboard."""
        self.button(name).focus()
        self.page.keyboard.press("Enter")

    def key(self, label, *keys):
        """Press keys on a slider."""
        self.slider(label).focus()
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, label, number):
        """Type a number into the field beside a slider."""
        self.field(label).focus()
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.type(str(number))
        self.page.keyboard.press("Enter")

    def shown(self, label):
        """The number that a slider shows and announces; its field shows the same."""
        text, number = self.slider(label).evaluate(
            "range => [range.ariaValueText, "
            "  range.closest('.rlhf-slider').querySelector('[role=spinbutton]').value]"
        )
        assert text == number
        return float(text)

    @property
    def readout(self):
        return self.root.locator(".rlhf-readout").inner_text()

    @property
    def status(self):
        return self.root.locator(".rlhf-progress").inner_text()

    def traces(self, figure=0):
        """`[(name, ys), ...]` of what plotly has drawn in a figure."""
        found = (
            self.root.locator(".js-plotly-plot")
            .nth(figure)
            .evaluate("plot => plot.data.map(t => [t.name, Array.from(t.y ?? [])])")
        )
        return [(name, ys) for name, ys in found]

    def curve(self, name, figure=0):
        return dict(reversed(self.traces(figure)))[name]

    def _told(self, name):
        return self.root.locator(".rlhf-progress").get_attribute(f"data-{name}")

    @property
    def runs(self):
        """How many runs have begun."""
        return int(self._told("runs"))

    @property
    def values(self):
        """The settings of the run that began last."""
        return json.loads(self._told("values"))

    def after(self, action):
        """Do what starts a run, and wait until that run has come to its end."""
        before = self.runs
        action()
        self.until(lambda: self.runs > before and self.status.startswith("Finished"))

    def until(self, condition):
        """Wait for `condition()` and return the seconds that it took."""
        start = time.monotonic()
        while not condition():
            if time.monotonic() - start > PATIENCE:
                raise AssertionError(
                    f"not within {PATIENCE} s; status: {self.status!r}, read-out: {self.readout!r}"
                )
            self.page.wait_for_timeout(50)
        return time.monotonic() - start


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
