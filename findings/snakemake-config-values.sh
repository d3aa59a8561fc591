#!/usr/bin/env bash
# Snakemake's --config makes a number of a name like 2024_01, and quotes do not prevent that.
#
# Versions: snakemake 9.27.1, Python 3.11; seen 2026-11-27.
# One would guess: `--config run=2024_01` is the string "2024_01", or what YAML makes of it; with
#     quotes inside the argument it is a string in any case.
# What happens: quotes are taken off, then Python's int() and float() are tried, which allow
#     underscores, an exponent and leading zeros: a run becomes 202401, a commit 12e45 becomes
#     1.2e+46. Only YAML's own tag keeps the string. In a list, on the other hand, numbers are strings.
# Seen:
#     run=2024_01 -> {'run': 202401}
#     run="2024_01" -> {'run': 202401}
#     run=12e45 -> {'run': 1.2e+46}
#     run=007 -> {'run': 7}
#     run=!!str 007 -> {'run': '007'}
#     run=[1, 2] -> {'run': ['1', '2']}
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

for value in 2024_01 '"2024_01"' 12e45 007 '!!str 007' '[1, 2]'; do
    seen=$(venv/bin/snakemake --cores 1 --config "run=$value" 2>log | grep '^config' || cat log)
    echo "run=$value -> ${seen#config }"
done | tee seen

cat >described <<'EOF'
run=2024_01 -> {'run': 202401}
run="2024_01" -> {'run': 202401}
run=12e45 -> {'run': 1.2e+46}
run=007 -> {'run': 7}
run=!!str 007 -> {'run': '007'}
run=[1, 2] -> {'run': ['1', '2']}
EOF
if cmp -s seen described; then
    echo "AS DESCRIBED"
else
    echo "CHANGED"
    exit 1
fi
