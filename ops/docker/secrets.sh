#!/bin/sh
# Makes the passwords and keys of docker-compose.yml under secrets/; what is there already stays.
set -eu
umask 077
cd "$(dirname "$0")/../.."
mkdir -p secrets
for name in postgres_password redis_password weaviate_key api_key grafana_password; do
    file=secrets/$name
    [ -s "$file" ] && continue
    # Letters and digits only: they go into addresses and settings files as they are.
    rm -f "$file.new"
    LC_ALL=C tr -dc 'A-Za-z0-9' </dev/urandom | dd bs=1 count=40 2>/dev/null >"$file.new"
    # Each is mounted alone, and its container runs as a user of its own; the folder keeps others out.
    chmod 444 "$file.new"
    mv "$file.new" "$file"  # whole or not at all
    echo "made $file"
done
