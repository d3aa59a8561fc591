#!/usr/bin/env bash
# Snakemake's --config refuses a key of one letter as "not a valid identifier".
#
# Versions: snakemake 9.27.1, Python 3.11; seen 2026-11-27.
# One would guess: `--config k=5` sets what a config file sets with `k: 5`.
# What happens: the command ends with an error and a traceback, whichever letter it is; a key of two
#     letters is taken, and so is `k` from a file.
# Seen:
#     --config k=5: ValueError: Invalid config definition: Config entry must start with a valid
#         identifier.
#     --config kk=5: config {'kk': 5}
#     --configfile: config {'k': 5}
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    snakemake==9.27.1

cat >Snakefile <<'EOF'
rule all:
    run:
        print("config", config)
EOF

echo "k: 5" >config.yaml
says() { venv/bin/snakemake --cores 1 "$@" 2>&1 | grep -E '^(config|ValueError)' || true; }
{
    echo "--config k=5: $(says --config k=5)"
    echo "--config kk=5: $(says --config kk=5)"
    echo "--configfile: $(says --configfile config.yaml)"
} | tee seen

if grep -q '^--config k=5: ValueError' seen && grep -q "kk=5: config {'kk': 5}" seen &&
    grep -q "configfile: config {'k': 5}" seen; then
    echo "AS DESCRIBED"
else
    echo "CHANGED"
    exit 1
fi
