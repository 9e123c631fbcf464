"""Get a published generator: python scripts/download.py dataset=ffhq (configs/download.yaml)."""

from autodrag.config import Source, run
from autodrag.download import DownloadConfig, fetch, verify
from autodrag.vision.detectors import PHOTO_PREDICTOR, PHOTO_PREDICTOR_SHA256, PHOTO_PREDICTOR_URL

PREDICTOR = Source(PHOTO_PREDICTOR, PHOTO_PREDICTOR_URL, None, PHOTO_PREDICTOR_SHA256, "non-commercial")


def main(cfg: DownloadConfig) -> None:
    for source in (cfg.dataset.source, *([PREDICTOR] if cfg.landmarks else [])):
        path = fetch(source)
        verify(source)
        print(f"{path} ({source.licence})")


if __name__ == "__main__":
    run("download", DownloadConfig, main)
