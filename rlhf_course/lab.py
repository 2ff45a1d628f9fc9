"""Notebooks as `make lab` saves and opens them: with pictures, and never with a dead widget.

A saved output holds the picture of its panel's last state beside the name of the live widget. When
a notebook is opened that has no running kernel, the names are left out, so that JupyterLab shows
the pictures and not an error.

    jupyter lab --ServerApp.contents_manager_class=rlhf_course.lab.Contents
"""

from __future__ import annotations

import base64
import os
import tempfile
from pathlib import Path
from typing import Any

from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


class Contents(AsyncLargeFileManager):
    """jupyter_server's own manager of files, with what the module says for notebooks."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self._pictures = tempfile.TemporaryDirectory(prefix="rlhf-pictures-")
        # The kernels that this server starts inherit it.
        os.environ["RLHF_PICTURES_DIR"] = self._pictures.name

    async def save(self, model: dict, path: str = "") -> dict:
        if model.get("type") == "notebook" and isinstance(model.get("content"), dict):
            put_pictures(model["content"], Path(self._pictures.name))
        return await super().save(model, path)

    async def get(self, path: str, *arguments: Any, **options: Any) -> dict:
        model = await super().get(path, *arguments, **options)
        if model["type"] == "notebook" and model["content"] and not await self._has_kernel(path):
            leave_out_widgets(model["content"])
        return model

    async def _has_kernel(self, path: str) -> bool:
        manager = getattr(self.parent, "session_manager", None)
        if manager is None:
            return False
        sessions = await manager.list_sessions()
        return any(s["path"].strip("/") == path.strip("/") and s["kernel"] for s in sessions)


def _widgets(notebook: Any) -> Any:
    """The data of each output that shows a widget and something else as well."""
    for cell in notebook.get("cells", []):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if WIDGET_VIEW in data and len(data) > 1:
                yield data


def put_pictures(notebook: Any, folder: Path) -> None:
    """Puts, in place, into each output of a widget the picture that its kernel has kept."""
    for data in _widgets(notebook):
        name = str(data[WIDGET_VIEW].get("model_id", ""))
        path = folder / f"{name}.png"
        if name.isalnum() and path.is_file():
            data["image/png"] = base64.b64encode(path.read_bytes()).decode()


def leave_out_widgets(notebook: Any) -> None:
    """Takes, in place, the names of widgets out of outputs that have something else to show."""
    for data in _widgets(notebook):
        del data[WIDGET_VIEW]
