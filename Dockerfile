# One image, two commands: `emco api` and `emco worker`. Helm is built from the pinned tools module,
# so that the image renders with exactly the version that the tests ran.
FROM golang:1.26-bookworm AS helm
WORKDIR /tools
COPY tools/go.mod tools/go.sum ./
RUN go mod download
RUN CGO_ENABLED=0 go build -trimpath -o /out/helm \
    -ldflags "-s -w -X helm.sh/helm/v4/internal/version.version=v4.3.1" helm.sh/helm/v4/cmd/helm

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --create-home emco
WORKDIR /app
COPY requirements/base.txt requirements/base.txt
RUN pip install --no-cache-dir --require-hashes -r requirements/base.txt
COPY pyproject.toml README.md LICENSE ./
COPY emco emco
COPY workflows workflows
COPY activities activities
COPY api api
COPY --from=helm /out/helm /usr/local/bin/helm
RUN printf '#!/bin/sh\nexec python -m emco.cli.app "$@"\n' > /usr/local/bin/emco && chmod 0755 /usr/local/bin/emco
ENV PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 EMCO_DATA=/home/emco/data
USER emco
CMD ["emco", "api"]
