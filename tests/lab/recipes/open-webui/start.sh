#!/usr/bin/env bash
# The published image's contract: a key in the working directory unless one is given; PORT, HOST, UVICORN_WORKERS,
# FORWARDED_ALLOW_IPS.
set -eu
cd /app/backend

key_file=${WEBUI_SECRET_KEY_FILE:-.webui_secret_key}
if [ -z "${WEBUI_SECRET_KEY:-}" ]; then
    [ -e "$key_file" ] || head -c 24 /dev/urandom | base64 >"$key_file"
    WEBUI_SECRET_KEY=$(cat "$key_file")
fi
export WEBUI_SECRET_KEY

exec python3 -m uvicorn open_webui.main:app --host "${HOST:-0.0.0.0}" --port "${PORT:-8080}" \
    --forwarded-allow-ips "${FORWARDED_ALLOW_IPS:-*}" --workers "${UVICORN_WORKERS:-1}"
