#!/usr/bin/env bash
# Feeds every reader of files with random bytes for a while, and says how many it was fed:
#
#   scripts/fuzz.sh [SECONDS] [idx|weights|pickle|checkpoint|network|picture]...
#
# It begins with the files of tests/damaged and what the tests read. Stops at the first input that
# a reader panics at, takes a gigabyte for, or spends half a minute on; `fuzz/artifacts` then has it.
#
# Needs rustup with a nightly toolchain, `cargo install cargo-fuzz`, and unzip.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-180}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(idx weights pickle checkpoint network picture)

# seeds TARGET: where its first inputs are.
seeds() {
    case $1 in
    idx) ls tests/damaged/*.idx tests/damaged/*.idx.gz data/mnist/t10k-labels-idx1-ubyte.gz ;;
    weights) ls tests/damaged/*.safetensors tests/damaged/*.pth tests/fixtures/*.pth ;;
    checkpoint) ls tests/damaged/*.state ;;
    network) ls tests/damaged/*.txt ;;
    picture) ls tests/damaged/*.png tests/damaged/*.jpg tests/fixtures/pictures/* ;;
    pickle) ;;
    *) echo "no target is called $1" >&2; exit 2 ;;
    esac
}

for tool in rustup unzip; do
    command -v "$tool" > /dev/null || { echo "$tool is missing" >&2; exit 2; }
done

for target in "${targets[@]}"; do
    # On a line of its own, so that an unknown target ends the script.
    files=$(seeds "$target")
    mkdir -p "fuzz/corpus/$target"
    for seed in $files; do
        cp "$seed" "fuzz/corpus/$target/"
    done
    if [ "$target" = pickle ]; then
        for archive in tests/fixtures/*.pth tests/damaged/*.pth; do
            unzip -p "$archive" '*/data.pkl' > "fuzz/corpus/pickle/$(basename "$archive")" || true
        done
    fi
    log=$(mktemp)
    rustup run nightly cargo fuzz run "$target" -- -max_total_time="$seconds" -max_len=16384 \
        -rss_limit_mb=1000 -timeout=30 -print_final_stats=1 2> "$log" ||
        { tail -n 40 "$log"; exit 1; }
    inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    echo "$target: $inputs inputs in $seconds s, none that harms"
    rm "$log"
done
