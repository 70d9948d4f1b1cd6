#!/bin/sh
# Apache starts this for each request that is under way, as your user. It looks upwards from its own folder for the
# private folder "sluice" (the program, its settings, its state), which the web must not serve:
#
#     ~/sluice/sluice  ~/sluice/sluice.env        ~/public_html/sluice.fcgi  ~/public_html/.htaccess

folder=$(cd "$(dirname "$0")" && pwd -P) || exit 1
until [ -f "$folder/sluice/sluice.env" ]; do
    if [ "$folder" = / ]; then
        echo "sluice.fcgi: there is no folder \"sluice\" with a file \"sluice.env\" above $0" >&2
        exit 1
    fi
    folder=$(dirname "$folder")
done

# One process, no supervisor: Apache starts as many as it wants. They share what they must through STATE_DIR.
export WORKERS=0 STATE_DIR="$folder/sluice/state" LOG_FILE="$folder/sluice/sluice.log"
unset LISTEN
cd "$folder/sluice" && exec ./sluice --env-file "$folder/sluice/sluice.env"
