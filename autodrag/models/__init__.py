"""The networks: the regularizer, the predictor and both together."""

from autodrag.models.autodrag import AutoDrag, DomainShape, ModelConfig
from autodrag.models.predictor import Predictor, PredictorConfig
from autodrag.models.regularizer import Regularizer, RegularizerConfig
from autodrag.models.statistics import Statistics

__all__ = [
    "AutoDrag",
    "DomainShape",
    "ModelConfig",
    "Predictor",
    "PredictorConfig",
    "Regularizer",
    "RegularizerConfig",
    "Statistics",
]
