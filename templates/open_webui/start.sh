#!/bin/bash
# Runs in the container before the image's own start.sh. Secrets come from read-only files, so that `docker inspect` has none.
set -eu

WEBUI_SECRET_KEY=$(cat /run/provision/secret_key)
export WEBUI_SECRET_KEY
. /run/provision/environment

# The first visitor of an instance without users becomes its admin: nothing listens before there is one.
python3 /run/provision/first_start.py

exec bash start.sh
