#!/bin/sh
# The role and the database of bitrix-sync, at the first start of PostgreSQL's container.
set -eu
psql --quiet --set ON_ERROR_STOP=1 --set password="$(cat /run/secrets/database_password)" --username postgres <<'SQL'
CREATE ROLE bitrix_sync LOGIN PASSWORD :'password';
CREATE DATABASE bitrix_sync OWNER bitrix_sync ENCODING 'UTF8' TEMPLATE template0;
SQL
