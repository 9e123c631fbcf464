"""The tasks that methods are measured on."""

from autodrag.config import MODEL_DIR, DatasetConfig
from autodrag.errors import InputError
from autodrag.evaluation.metric_networks import MetricNetworks
from autodrag.evaluation.tasks.base import Item, Latents, Prediction, Score, Task
from autodrag.evaluation.tasks.landmarks import Landmarks, LandmarksConfig
from autodrag.evaluation.tasks.mdd import Mdd, MddConfig
from autodrag.evaluation.tasks.paired import Paired, PairedConfig
from autodrag.evaluation.tasks.pulls import Pulls, PullsConfig
from autodrag.evaluation.tasks.roundtrip import Roundtrip, RoundtripConfig
from autodrag.generator import FrozenGenerator
from autodrag.vision.detectors import load_detector
from autodrag.vision.flow import Flow

__all__ = ["Item", "Latents", "Prediction", "Score", "Task", "TaskConfig", "make_task"]

TaskConfig = LandmarksConfig | PairedConfig | MddConfig | RoundtripConfig | PullsConfig


def make_task(
    config: TaskConfig, dataset: DatasetConfig, generator: FrozenGenerator, networks: MetricNetworks, seed: int
) -> Task:
    """The task of a config. Raises InputError where it does not work on this dataset."""
    if isinstance(config, LandmarksConfig):
        detector = load_detector(dataset.name, MODEL_DIR)
        identity = None if networks.identity is None else networks.identity.appearance
        return Landmarks(generator, seed, config, dataset.psi, detector, identity)
    if isinstance(config, PairedConfig):
        return Paired(generator, seed, config, dataset.content, networks.lpips)
    if isinstance(config, RoundtripConfig):
        return Roundtrip(generator, seed, config, dataset.psi, dataset.content, networks.lpips)
    if isinstance(config, PullsConfig):
        if dataset.domain != "synthface":
            raise InputError(
                f"task=pulls is judged by the renderer of synthface, not of {dataset.domain}: choose dataset=synthface."
            )
        return Pulls(generator, seed, config, networks.identity)
    psi = dataset.psi if config.psi is None else config.psi
    flow = Flow(config.flow, generator.device)
    # The renderer can judge its own domain; it knows no truncated faces.
    reader = networks.identity if dataset.domain == "synthface" and psi == 1 else None
    return Mdd(generator, seed, config, psi, flow, dataset.content, reader)
