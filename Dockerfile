# The editor in a container; docs/hosting.md says how to run it. Not built here.
#   docker build -t autodrag .                            torch's CPU build
#   docker build -t autodrag --build-arg TORCH=cu128 .    with CUDA, for docker run --gpus all
FROM python:3.12-slim

ARG TORCH=cpu
ENV UV_TORCH_BACKEND=$TORCH UV_NO_CACHE=1 PYTHONUNBUFFERED=1

RUN pip install --no-cache-dir uv
WORKDIR /autodrag
COPY requirements.txt ./
RUN uv pip install --system -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY autodrag autodrag
COPY configs configs
COPY scripts scripts
COPY third_party third_party
RUN uv pip install --system --no-deps --no-build-isolation --editable .

RUN useradd --create-home autodrag
USER autodrag
EXPOSE 8000
ENTRYPOINT ["python", "scripts/app.py", "host=0.0.0.0"]
