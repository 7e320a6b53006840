#!/bin/sh
# Run once by the PostgreSQL image, when it makes its database.
set -eu
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    -v owner_password="$(cat /run/secrets/owner_password)" \
    -v service_password="$(cat /run/secrets/service_password)" \
    -f /deploy/roles.sql
