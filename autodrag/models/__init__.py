"""The networks: AutoDrag (predictor and regularizer), Aim, PointMotion, Manifold, Landing, and the image encoder."""

from autodrag.models.aim import Aim, AimConfig
from autodrag.models.autodrag import AutoDrag, DomainShape, ModelConfig
from autodrag.models.encoder import Encoder, EncoderConfig
from autodrag.models.landing import Landing, LandingConfig
from autodrag.models.manifold import Manifold
from autodrag.models.point_motion import PointMotion, PointMotionConfig
from autodrag.models.predictor import Predictor, PredictorConfig
from autodrag.models.regularizer import Regularizer, RegularizerConfig
from autodrag.models.statistics import Statistics

__all__ = [
    "Aim",
    "AimConfig",
    "AutoDrag",
    "DomainShape",
    "Encoder",
    "EncoderConfig",
    "Landing",
    "LandingConfig",
    "Manifold",
    "ModelConfig",
    "PointMotion",
    "PointMotionConfig",
    "Predictor",
    "PredictorConfig",
    "Regularizer",
    "RegularizerConfig",
    "Statistics",
]
