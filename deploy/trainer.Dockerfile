# The trainer: every offline stage, run once and left. Build from the repository root:
#   docker build -f deploy/trainer.Dockerfile --build-arg TORCH_INDEX=… -t localrec-trainer .
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# As in engine.Dockerfile; leave it empty to train on a GPU.
ARG TORCH_INDEX=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/localrec
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
# Dependencies first, in a layer that a change of code leaves alone.
RUN PIP_EXTRA_INDEX_URL=${TORCH_INDEX} /opt/localrec/bin/pip install ".[train]"
COPY localrec localrec
COPY models models
COPY service service
RUN /opt/localrec/bin/pip install --no-deps --force-reinstall .

FROM ${PYTHON_IMAGE}
# The same user in every image: see gateway.Dockerfile.
RUN useradd --uid 10001 --create-home localrec \
    && install --directory --owner=localrec --group=localrec /bundles /runs
COPY --from=build /opt/localrec /opt/localrec
# Base models that are fetched from a hub stay with the runs.
ENV PATH=/opt/localrec/bin:$PATH PYTHONUNBUFFERED=1 HF_HOME=/runs/huggingface
USER 10001
WORKDIR /runs
# A command that ends has no health; its exit code says whether it did its work.
HEALTHCHECK NONE
ENTRYPOINT ["localrec"]
CMD ["--help"]
