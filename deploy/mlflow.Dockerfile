# MLflow's server in the version that `requirements.lock` has. deploy/compose.yaml builds it.
FROM python:3.12-slim-bookworm
RUN pip install --no-cache-dir uv
COPY requirements.lock /
RUN uv pip install --system --no-cache --constraints /requirements.lock "mlflow[auth]" boto3 psycopg2-binary
USER nobody
WORKDIR /tmp
