# A service's image as AWS Lambda takes it, by `make lambda-image`: with the adapter that Lambda starts beside the
# service, and that turns invocations into requests to it. Elsewhere the adapter is not started.
ARG SERVICE
ARG ADAPTER=public.ecr.aws/awsguru/aws-lambda-adapter:0.9.1
FROM ${ADAPTER} AS adapter
FROM ${SERVICE}
COPY --from=adapter /lambda-adapter /opt/extensions/lambda-adapter
# Nothing but /tmp can be written; a function answers one request at a time.
ENV AWS_LWA_PORT=3000 \
    AWS_LWA_READINESS_CHECK_PATH=/readyz \
    BENTOML_HOME=/tmp/state \
    MILLRACE_SERVE_LOG=off \
    MILLRACE_SERVE_WORKERS=1
