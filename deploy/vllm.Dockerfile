# A stock vLLM server that takes its flags from a bundle, and our plugin for HatLLM. Build from the repository root:
#   docker build -f deploy/vllm.Dockerfile -t localrec-vllm:0.1.0 .
# 0.33 is the oldest version to run on a GPU: before it, loading adapters under load could serve another tenant's
# (vLLM issue 47724).
ARG VLLM_IMAGE=vllm/vllm-openai:v0.33.0
FROM ${VLLM_IMAGE}
ARG VLLM_IMAGE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="localrec-vllm" \
    org.opencontainers.image.description="vLLM, with the flags that a bundle of LocalRec needs" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.base.name="${VLLM_IMAGE}"
# Only the contract and the plugin, as plain files: they stand on msgspec and numpy, which vLLM has, and nothing is
# installed.
COPY models/__init__.py /opt/localrec/models/__init__.py
COPY models/contract /opt/localrec/models/contract
COPY service/__init__.py /opt/localrec/service/__init__.py
COPY service/vllm_plugin /opt/localrec/service/vllm_plugin
COPY deploy/vllm-entrypoint /usr/local/bin/vllm-entrypoint
# The user of the other images, because safetensors files are readable by their owner alone; in group 0, to which the
# image opens the home of its own user `vllm`. /bundles: see gateway.Dockerfile. What vLLM, Triton and CUDA compile and
# keep goes below the home: a volume there, and the rest of the image may be read-only.
RUN chmod 755 /usr/local/bin/vllm-entrypoint \
    && useradd --uid 10001 --gid 0 --no-create-home --home-dir /home/vllm localrec \
    && install --directory --owner=10001 --group=0 --mode=775 /bundles /home/vllm \
    && install --directory /opt/localrec/share/sbom \
    && python3 -c "from importlib.metadata import distributions; print(*sorted(f'{d.name}=={d.version}' for d in distributions()), sep='\n')" \
        > /opt/localrec/share/sbom/requirements.txt
ENV HOME=/home/vllm PYTHONDONTWRITEBYTECODE=1 VLLM_NO_USAGE_STATS=1
USER 10001:0
EXPOSE 8001
# Long, because a GPU start compiles and captures graphs.
HEALTHCHECK --interval=10s --timeout=3s --start-period=300s --retries=3 \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8001/health', timeout=2)"]
ENTRYPOINT ["vllm-entrypoint"]
