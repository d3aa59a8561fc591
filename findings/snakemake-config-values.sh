#!/usr/bin/env bash
# Snakemake's --config makes a number of a name like 2024_01, and quotes do not prevent that.
#
# Versions: snakemake 9.27.1, Python 3.11; seen 2026-11-27.
# One would guess: `--config run=2024_01` is the string "2024_01", or what YAML makes of it; with
#     quotes inside the argument it is a string in any case.
# What happens: quotes are taken off, then Python's int() and float() are tried, which allow
#     underscores, an exponent and leading zeros: a run becomes 202401, a commit 12e45 becomes
#     1.2e+46. Only YAML's own tag keeps the string. In a list, on the other hand, numbers are
#     strings.
# Seen:
#     --config name=2024_01 quoted="2024_01" commit=12e45 zeros=007 tagged=!!str 007 several=[1, 2]
#     config {'name': 202401, 'quoted': 202401, 'commit': 1.2e+46, 'zeros': 7, 'tagged': '007',
#             'several': ['1', '2']}
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

venv/bin/snakemake --cores 1 --config name=2024_01 'quoted="2024_01"' commit=12e45 zeros=007 \
    'tagged=!!str 007' 'several=[1, 2]' 2>&1 | grep '^config' | tee seen

cat >described <<'EOF'
config {'name': 202401, 'quoted': 202401, 'commit': 1.2e+46, 'zeros': 7, 'tagged': '007', 'several': ['1', '2']}
EOF
if cmp -s seen described; then
    echo "AS DESCRIBED"
else
    echo "CHANGED"
    exit 1
fi
