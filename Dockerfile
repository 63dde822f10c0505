# The image of the program, and, as the target "demo", the demonstration with a portal of its own.
#   docker build --target service -t bitrix-sync .
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY requirements.lock ./
RUN python -m pip wheel --quiet --no-deps --require-hashes --wheel-dir /wheels --requirement requirements.lock
COPY pyproject.toml README.md LICENSE scheduler.py ./
COPY bitrix_sync bitrix_sync
COPY webhooks webhooks
RUN python -m venv /opt/bitrix-sync
RUN /opt/bitrix-sync/bin/python -m pip install --quiet --no-index --find-links /wheels ".[fleet]"

FROM build AS build-demo
COPY bitrix_sandbox bitrix_sandbox
RUN /opt/bitrix-sync/bin/python -m pip install --quiet --no-index --find-links /wheels ./bitrix_sandbox

FROM python:3.11-slim-bookworm AS base
RUN useradd --system --uid 10001 --no-create-home bitrix-sync && install -d -o bitrix-sync -m 0700 /data /config
ENV PATH=/opt/bitrix-sync/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ENV BITRIX_LISTEN=0.0.0.0:8080 DATABASE_URL=sqlite:////data/bitrix-sync.db
USER 10001
WORKDIR /config
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["bitrix-sync"]

FROM base AS demo
COPY --from=build-demo /opt/bitrix-sync /opt/bitrix-sync
WORKDIR /tmp
CMD ["demo"]

FROM base AS service
COPY --from=build /opt/bitrix-sync /opt/bitrix-sync
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
CMD ["run"]
