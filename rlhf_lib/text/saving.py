"""A trained task in a folder, and back: model, tokenizer, names of the classes and settings.

The folder is one of transformers' own, so that its Auto classes, `pipeline` and other tools read
it; what only a task knows stands in config.json under "rlhf_lib".
"""

from __future__ import annotations

import copy
import os
import shutil
import threading
from collections.abc import Generator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .classification import ClassificationTask
from .conll import EntityDataset
from .entities import EntityTask
from .folders import folder_of, read_json
from .label_names import stated_names
from .language import LanguageModelTask
from .models import load_model, quiet_loading
from .multi_label import MultiLabelTask
from .questions import QuestionTask
from .regression import RegressionTask
from .squad import Answer, Question, QuestionDataset
from .task import Task
from .texts import TextDataset, TextPair
from .tiny import PREFIX as TINY

if TYPE_CHECKING:  # it takes seconds, and a model comes with it
    from transformers import PreTrainedModel

KINDS: tuple[type[Task], ...] = (
    ClassificationTask,
    MultiLabelTask,
    RegressionTask,
    EntityTask,
    QuestionTask,
    LanguageModelTask,
)
# For a folder that no task has written, by what `architectures` ends in.
ENDINGS: dict[str, type[Task]] = {
    "ForSequenceClassification": ClassificationTask,
    "ForPooledClassification": ClassificationTask,
    "ForTokenClassification": EntityTask,
    "ForQuestionAnswering": QuestionTask,
    "LMHeadModel": LanguageModelTask,
    "ForCausalLM": LanguageModelTask,
}
BY_PROBLEM: dict[str, type[Task]] = {
    "multi_label_classification": MultiLabelTask,
    "regression": RegressionTask,
}
# What changes predictions, where a task has it: names of attributes, and of arguments but "paired".
SETTINGS = (
    "paired",
    "max_length",
    "overlap",
    "stride",
    "max_answer",
    "threshold",
    "null_threshold",
)
# What a folder may hold that is replaced.
FILES = (
    "config.json",
    "generation_config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "chat_template.jinja",
)


def save_task(task: Task, folder: str | Path) -> Path:
    """Write what `load_task` needs to predict; see `Task.save`."""
    model: Any = task.model
    tokenizer = getattr(task, "tokenizer", None)
    if tokenizer is None or not hasattr(model, "save_pretrained"):
        raise TypeError(
            f"save: expected a task with a model of transformers and a tokenizer, got "
            f"{type(task).__name__} with {type(model).__name__}"
        )
    _refuse_changed(model)
    own = {key: getattr(task, key) for key in SETTINGS if hasattr(task, key)}
    model.config.rlhf_lib = {"task": type(task).__name__, **own}
    with _replacing_folder(Path(folder)) as part, quiet_loading():
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
    return Path(folder)


def load_task(name: str | Path, *, dtype: torch.dtype | None = None) -> Any:
    """The task in a folder that `Task.save` wrote, or of any trained checkpoint: to predict with.

    name, dtype: as of `load_model`. A checkpoint that no task has saved has the kind of task that
    its architecture says, and the defaults of that.

    The task has no data: it predicts, and `assess(encode(data))` scores a data set. To train on,
    `load_model` the folder and make a task with data.

    Raises ValueError for a checkpoint without a head for its task, and what `load_model` raises.
    """
    if name == "minilm" or (str(name).startswith(TINY) and not Path(name).is_dir()):
        raise ValueError(
            f"name: expected the folder or the hub id of a trained model, got {name!r}, which has "
            "no trained head. Do: load_model, make a task with data, train it and save it."
        )
    raw = read_json(folder_of(name) / "config.json")
    settings = dict(raw.get("rlhf_lib") or {})
    paired = settings.pop("paired", False)
    stated = settings.pop("task", None)
    if stated is None:
        architectures = [str(a) for a in raw.get("architectures") or []]
        found = [kind for a in architectures for end, kind in ENDINGS.items() if a.endswith(end)]
        if ClassificationTask in found:
            found = [BY_PROBLEM.get(str(raw.get("problem_type")), ClassificationTask)]
        expected, got = "architectures that end in one of " + ", ".join(ENDINGS), architectures
    else:
        found = [kind for kind in KINDS if kind.__name__ == stated]
        expected, got = "a task out of " + ", ".join(k.__name__ for k in KINDS), stated
    if not found:
        raise ValueError(
            f"{name}: expected a config.json with {expected}, got {got}. Do: load_model, and make "
            "the task with data."
        )
    kind = found[0]
    model, tokenizer = load_model(str(kind.model_task), name, dtype=dtype)
    new: Any = model.new_weights
    if new:
        raise ValueError(
            f"{name}: expected a checkpoint with a trained head for {kind.__name__}, got none of "
            f"{', '.join(new[:3])}. Do: train one, and save the task."
        )
    data = _stand_in(kind, model, paired)
    task = kind(model, tokenizer, data, data, **settings)  # pyrefly: ignore[bad-argument-type]
    task.training, task.validation, task.samples = {}, {}, 0
    return task


def _stand_in(kind: type[Task], model: PreTrainedModel, paired: bool) -> Any:
    """The smallest data set that a task of this kind can be made with."""
    names = stated_names(model.config) or tuple((model.config.id2label or {}).values())
    if kind is EntityTask:
        return EntityDataset((("a",),), ((names[0],),), names, "stand-in")
    if kind is QuestionTask:
        return QuestionDataset((Question("1", "a", "a", (Answer("a", 0),)),), "stand-in")
    labels: dict[type[Task], Any] = {MultiLabelTask: (0,) * len(names), RegressionTask: 0.0}
    text = TextPair("a", "a") if paired else "a a"
    names = () if kind is RegressionTask else names
    return TextDataset((text,), (labels.get(kind, 0),), names, "stand-in")


@torch.no_grad()
def _refuse_changed(model: nn.Module) -> None:
    """Only what the config describes can be made again of it."""
    with torch.device("meta"):
        made = type(model)(copy.deepcopy(model.config))
    expected = {name: p.shape for name, p in made.named_parameters()}
    found = {name: p.shape for name, p in model.named_parameters()}
    other = [n for n in {**expected, **found} if expected.get(n) != found.get(n)]
    other += [n for n, p in model.named_parameters() if type(p.data) is not Tensor]
    if other:
        raise ValueError(
            f"save: expected the weights that the config of this {type(model).__name__} "
            f"describes, got others, as {other[0]}: it was pruned, quantized or changed. Do: "
            "compress.save(model, file), after compress.make_permanent(model) where masks are on."
        )


@contextmanager
def _replacing_folder(folder: Path) -> Generator[Path]:
    """A folder beside `folder` to write to, which takes its place when the block ends well.

    After an error the earlier one is what it was. A kill between the two renames leaves both
    beside it, hidden, as `.NAME....old` and `.NAME....part`.

    Raises FileExistsError for a folder that holds other files than a model's.
    """
    folder = Path(os.path.realpath(folder.expanduser()))
    if folder.exists():
        here = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else [folder.name]
        other = [name for name in here if not any(fnmatch(name, known) for known in FILES)]
        if other or not folder.is_dir():
            raise FileExistsError(
                f"{folder}: expected a new or empty folder, or one with a saved model alone, which "
                f"is replaced; got {', '.join(other[:3])}. Do: give another folder."
            )
    folder.parent.mkdir(parents=True, exist_ok=True)
    stem = f".{folder.name}.{os.getpid()}-{threading.get_ident()}"
    part, old = folder.with_name(f"{stem}.part"), folder.with_name(f"{stem}.old")
    part.mkdir()
    try:
        yield part
        for file in part.iterdir():
            with open(file, "rb+") as opened:  # on the disk before the name leads to it
                os.fsync(opened.fileno())
        if folder.exists():
            folder.rename(old)
        try:
            part.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)
