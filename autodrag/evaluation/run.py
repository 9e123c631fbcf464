"""`scripts/eval.py`: one method on one task of one dataset, from a manifest to a summary."""

import json
import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from tqdm import tqdm

from autodrag.config import DatasetConfig, dataset_names, dump, load_dataset, load_yaml
from autodrag.errors import InputError
from autodrag.evaluation.drag_batch import Timing, time_edits
from autodrag.evaluation.folder import Chunk, EvaluationFolder, chunks
from autodrag.evaluation.manifest import Header, Manifest, check_manifest, make_manifest, read_manifest
from autodrag.evaluation.method import load_evaluated, missing_weights, samples_seen, weights_hashes
from autodrag.evaluation.metric_networks import MetricNetworks, load_metric_networks
from autodrag.evaluation.summary import curves, frechet, seconds, summarise, to_json
from autodrag.evaluation.tasks import Item, Prediction, Task, TaskConfig, make_task
from autodrag.files import make_folder
from autodrag.fingerprint import fingerprint
from autodrag.generator import FrozenGenerator
from autodrag.loading import load_generator
from autodrag.methods import DragMethod, MethodConfig
from autodrag.runs.folder import environment
from autodrag.runs.lock import exclusive
from autodrag.runs.ranks import Ranks, join_ranks


@dataclass(frozen=True)
class EvalConfig:
    """`configs/eval.yaml`."""

    task: TaskConfig
    dataset: DatasetConfig
    method: MethodConfig
    manifest: str  # file that lists the items; made where it is missing
    out: str  # the evaluation's folder
    seed: int
    device: str
    items: int | None  # number of items to evaluate, the first of the manifest; None: all
    batch: int  # edits at a time
    download: bool  # fetch weights of FID and LPIPS that are not on this machine
    timed: int  # edits that are repeated one at a time for the timing; 0: none
    untrained: Literal["stop", "skip"]  # what to do where the method has no weights yet
    c: int | tuple[float, ...] | None = None  # class of a conditional generator; missing in folders of earlier versions
    settings: tuple[str | int, ...] | None = None  # settings of the task to evaluate; None: all


def evaluate(config: EvalConfig) -> None:
    """Start or resume an evaluation and write `out`/summary.json. Raises InputError."""
    lacking = missing_weights(config.method, config.dataset.name)
    if lacking is not None:
        if config.untrained == "stop":
            raise InputError(lacking)
        _say(f"{config.method.label} is skipped. {lacking}")
        return
    counts = (config.batch, config.task.count, 1 if config.items is None else config.items)
    if min(counts) < 1 or config.timed < 0:
        raise InputError("An evaluation needs batch, task.count and items of at least 1, and timed of at least 0.")
    out = Path(config.out)
    with join_ranks(config.device) as ranks:
        if ranks.first:
            make_folder(out)
        with exclusive(out) if ranks.first else nullcontext():
            _run(config, ranks, out)


def _run(config: EvalConfig, ranks: Ranks, out: Path) -> None:
    _check_same(out, config)
    generator = load_generator(config.dataset, ranks.device, c=config.c)
    method = load_evaluated(config.method, generator, config.task.max_steps)
    networks = load_metric_networks(config.dataset.domain, ranks.device, config.download)
    task = make_task(config.task, config.dataset, generator, networks, config.seed)
    manifest = _manifest(config, task, generator, ranks)
    folder = EvaluationFolder(out)
    size = 1 if task.alone else config.batch
    items = manifest.items[: config.items]
    settings = _settings(config, task)
    everything = list(chunks(settings, items, size))
    if ranks.first:
        made_with = {"manifest": manifest.fingerprint, **weights_hashes(method)}
        if task.alone:  # predictions hold times, which do not compare with those of another device
            made_with["device"] = _device_name(generator.device)
        _check_made_with(folder, made_with)
        folder.write_text("config.yaml", dump(config))
        if folder.read_json("env.json") is None or not all(map(folder.has_prediction, everything)):
            folder.write_text("env.json", json.dumps(environment(), indent=1) + "\n")
    ranks.wait()

    # Predict, then score. Every rank takes its share of the chunks. Existing predictions are kept, and scores too where
    # they were made with the same networks.
    mine = everything[ranks.rank :: ranks.world]
    if ranks.first:
        _say(f"{config.method.label}: {len(items)} items, {config.task.name} {', '.join(settings)}")
    for chunk in _progress([c for c in mine if not folder.has_prediction(c)], "predict", ranks):
        folder.write_prediction(chunk, _predict(method, task, chunk))
    for chunk in _progress([c for c in mine if not folder.has_scores(c, networks.fingerprint)], "score", ranks):
        _score(folder, task, networks, chunk)
    ranks.wait()
    if ranks.first:
        timing = _timing(config, folder, generator, method, task, items)
        summary = _summary(config, folder, task, networks, manifest, everything)
        summary |= {"device": _device_name(ranks.device), "commit": folder.read_json("env.json")["commit"]}
        summary["seconds"] = None if timing is None else seconds(timing, config.seed)
        folder.write_text("summary.json", to_json(summary))
        print(out / "summary.json")
    ranks.wait()


def _manifest(config: EvalConfig, task: Task, generator: FrozenGenerator, ranks: Ranks) -> Manifest:
    path = Path(config.manifest)
    header = Header(config.dataset.name, fingerprint(generator), config.seed, _asked(config), dict(task.tools))
    if ranks.first and not path.is_file():
        make_manifest(path, header, task, config.task.count, _say)
    ranks.wait()
    manifest = read_manifest(path)
    check_manifest(manifest, header, path)
    return manifest


def _asked(config: EvalConfig) -> dict[str, Any]:
    """The task, with the dataset's truncation where that was changed: its items belong to other images."""
    task, dataset = asdict(config.task), config.dataset
    shipped = load_dataset(dataset.name if dataset.name in dataset_names() else f"{dataset.name}.pkl")
    if task.get("psi", dataset.psi) is None and dataset.psi != shipped.psi:
        task["psi"] = dataset.psi
    return task


def _settings(config: EvalConfig, task: Task) -> list[str]:
    """The chosen settings, in the order of the task."""
    if config.settings is None:
        return list(task.settings)
    chosen = [str(setting) for setting in config.settings]
    if not chosen or not set(chosen) <= task.settings.keys():
        raise InputError(
            f"settings={chosen} do not all exist in {config.task.name}; choose from {', '.join(task.settings)}."
        )
    return [setting for setting in task.settings if setting in chosen]


def _predict(method: DragMethod | None, task: Task, chunk: Chunk) -> Prediction:
    return (
        task.oracle(chunk.setting, chunk.items) if method is None else task.predict(method, chunk.setting, chunk.items)
    )


def _score(folder: EvaluationFolder, task: Task, networks: MetricNetworks, chunk: Chunk) -> None:
    source = task.latents(chunk.items).source
    prediction = folder.read_prediction(chunk, source)
    scores = task.score(chunk.setting, chunk.items, prediction)
    rows = [
        {"index": item.index, "setting": chunk.setting, **score, **note}
        for item, score, note in zip(chunk.items, scores, prediction.notes, strict=True)
    ]
    features: dict[str, Tensor] = {}
    if task.judged_by_frechet(chunk.setting):
        for which, ws in (("edited", prediction.ws), ("source", source)):
            images = task.images(ws)
            features |= {f"{network.name} {which}": network.features(images) for network in networks.features}
    folder.write_scores(chunk, rows, features, networks.fingerprint)


def _timing(
    config: EvalConfig,
    folder: EvaluationFolder,
    generator: FrozenGenerator,
    method: DragMethod | None,
    task: Task,
    items: Sequence[Item],
) -> Timing | None:
    """The timing of the first setting, kept in timing.json so that a resumed evaluation does not repeat it.

    All edits are timed again for another setting, on another device, and where more are to be timed than before: the
    load of the machine may have changed.
    """
    if method is None or config.timed == 0:
        return None
    known, items = folder.read_json("timing.json"), items[: config.timed]
    of = {"setting": _settings(config, task)[0], "device": _device_name(generator.device)}
    if known is None or known.get("of") != of or len(known["method"]) < len(items):
        pairs = [item.pair(task.settings[of["setting"]]) for item in items]
        source = task.latents(items).source
        timing = time_edits(generator, method, source, [h for h, _ in pairs], [t for _, t in pairs])
        known = {"of": of, **asdict(timing)}
        folder.write_text("timing.json", json.dumps(known) + "\n")
    return Timing(known["method"], known["rendered"])


def _summary(
    config: EvalConfig,
    folder: EvaluationFolder,
    task: Task,
    networks: MetricNetworks,
    manifest: Manifest,
    everything: Sequence[Chunk],
) -> dict[str, Any]:
    read = [(chunk, *folder.read_scores(chunk)) for chunk in everything]
    rows = [row for _, part, _ in read for row in part]
    folder.write_text("per_item.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    settings = _settings(config, task)
    features = {s: [part for chunk, _, part in read if part and chunk.setting == s] for s in settings}
    captions = {network.name: network.caption for network in networks.features}
    return {
        "task": json.loads(json.dumps(_asked(config))),
        "dataset": config.dataset.name,
        "resolution": list(task.generator.resolution),
        "method": asdict(config.method),
        "samples_seen": samples_seen(config.method),
        "seed": config.seed,
        "manifest": manifest.fingerprint,
        "tools": dict(task.tools),
        "columns": dict(task.columns),
        "settings": {
            setting: summarise([row for row in rows if row["setting"] == setting], task.columns, config.seed)
            for setting in settings
        },
        "frechet": frechet(features[settings[0]], captions) if features[settings[0]] else {},
        "frechet_of": {s: frechet(part, captions) for s, part in features.items() if part},
        "curves": curves(rows),
        "missing": networks.missing,
    }


def _check_same(out: Path, config: EvalConfig) -> None:
    """Raises InputError where the folder holds predictions of another config."""
    if not (out / "config.yaml").is_file():
        return
    try:
        before = load_yaml(out / "config.yaml", EvalConfig)
    except InputError as error:
        raise InputError(
            f"{out} holds an evaluation of another version ({error}) Choose another out= or delete it."
        ) from None
    ours, theirs = (_comparable(c) for c in (config, before))
    differing = [key for key in ours if ours[key] != theirs[key]]
    if differing:
        raise InputError(
            f"{out} holds an evaluation with another {' and '.join(differing)}; choose another out= or delete it."
        )


def _check_made_with(folder: EvaluationFolder, made_with: dict[str, str | None]) -> None:
    """Raises InputError where what the predictions were made with has changed.

    What folders of earlier versions did not note counts as unchanged.
    """
    before = folder.read_json("made_with.json") or {}
    differing = [key for key in made_with if before.get(key, made_with[key]) != made_with[key]]
    if differing:
        raise InputError(
            f"The {' and the '.join(differing)} of {folder.path} changed since it was started; choose another out= or "
            "delete it."
        )
    folder.write_text("made_with.json", json.dumps(made_with) + "\n")


def _comparable(config: EvalConfig) -> dict[str, object]:
    """What predictions depend on. A resumed evaluation may have more items or settings, or time more edits."""
    keys = ("task", "dataset", "method", "manifest", "seed", "batch", "c")
    return {key: getattr(config, key) for key in keys}


def _progress(todo: Sequence[Chunk], what: str, ranks: Ranks) -> Iterable[Chunk]:
    """A progress bar that estimates from the average time of a chunk (smoothing 0)."""
    bar: Iterable[Chunk] = tqdm(todo, what, unit="chunk", smoothing=0, disable=not ranks.first or not todo)
    return bar


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' * (threads != 1)}"
