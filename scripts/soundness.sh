#!/usr/bin/env bash
# Looks for what a compiler and tests alone do not see in `unsafe` code and between threads:
#
#   scripts/soundness.sh [asan|tsan|kernels|miri|valgrind|aarch64]...
#
# AddressSanitizer and ThreadSanitizer run the tests of the engines on the widest vectors of this
# processor, and the CUDA kernels on the GPU that the tests emulate; valgrind AVX2, Miri the portable
# path, where it knows every byte. The portable path is compiled for aarch64. Each sanitizer must first
# find a fault that is planted.
#
# Needs rustup, which fetches what is missing, a C compiler, and for its part valgrind.
set -euo pipefail
cd "$(dirname "$0")/.."

parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(asan tsan kernels miri valgrind aarch64)
host=$(rustc -vV | sed -n 's/^host: //p')
# The tests' emulated GPU changes stacks, of which only its own part tells these tools.
export NO_EMULATED_GPU=1
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/soundness
planted=$(mktemp -d)
trap 'rm -rf "$planted"' EXIT

# A read behind the end of a vector.
cat > "$planted/read.rs" <<'RUST'
fn main() {
    let numbers = vec![1_u8; std::env::args().count() + 7];
    println!("{}", unsafe { *numbers.as_ptr().add(numbers.len()) });
}
RUST
# Two threads that write the same number.
cat > "$planted/race.rs" <<'RUST'
static mut NUMBER: usize = 0;
fn main() {
    let write = || (0..1000).for_each(|_| unsafe { NUMBER += 1 });
    let other = std::thread::spawn(write);
    write();
    other.join().unwrap();
}
RUST

# must_find MESSAGE COMMAND...: stops unless the command fails with the message.
must_find() {
    local message=$1 found
    shift
    if found=$("$@" 2>&1) || ! grep -q "$message" <<< "$found"; then
        echo "$found"
        echo "the planted fault was not found: $*"
        exit 1
    fi
}

nightly() {
    rustup toolchain list | grep -q '^nightly' ||
        rustup toolchain install nightly --profile minimal
    [ $# -eq 0 ] || rustup component add --toolchain nightly "$@"
}

for part in "${parts[@]}"; do
    echo "== $part"
    case $part in
    asan)
        nightly
        rustc +nightly -Zsanitizer=address -o "$planted/read" "$planted/read.rs"
        must_find heap-buffer-overflow "$planted/read"
        RUSTFLAGS=-Zsanitizer=address cargo +nightly test --locked --target "$host" \
            --lib --test engines --test pytorch_parity
        ;;
    tsan)
        # The standard library must be compiled with it, or its locks are not seen.
        nightly rust-src
        rustc +nightly -Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer \
            -o "$planted/race" "$planted/race.rs"
        must_find 'data race' "$planted/race"
        RUSTFLAGS=-Zsanitizer=thread cargo +nightly test --locked --target "$host" \
            -Zbuild-std --lib --test engines -- \
            workers seed watches epoch_agrees
        ;;
    kernels)
        unset NO_EMULATED_GPU
        # What the harness of tests tells its threads and frees behind them it does in the standard
        # library, which is not compiled with it.
        printf 'race:%s\n' CompletedTest '3ArcINt*8run_test0*4Drop4drop' > "$planted/known"
        export TSAN_OPTIONS="suppressions=$planted/known" ASAN_OPTIONS=detect_leaks=0
        for sanitizer in address thread; do
            export EMULATED_GPU_SANITIZER=$sanitizer
            # ThreadSanitizer wants to find addresses where they usually are.
            on_kernels=(setarch -R cargo test --locked)
            if [ $sanitizer = address ]; then
                must_find heap-buffer-overflow \
                    "${on_kernels[@]}" --test emulation -- --ignored planted_overrun
            else
                must_find 'data race src/planted.cu' \
                    "${on_kernels[@]}" --test emulation -- --ignored planted_race
            fi
            "${on_kernels[@]}" --test emulation --test sgemm --test cuda -- --test-threads=1
        done
        unset EMULATED_GPU_SANITIZER TSAN_OPTIONS ASAN_OPTIONS
        export NO_EMULATED_GPU=1
        ;;
    miri)
        nightly miri rust-src
        # Files may be read.
        export MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-tree-borrows"
        mkdir -p "$planted/miri/src"
        printf '[package]\nname = "planted"\nedition = "2024"\n' > "$planted/miri/Cargo.toml"
        cp "$planted/read.rs" "$planted/miri/src/main.rs"
        must_find 'Undefined Behavior' \
            cargo +nightly miri run --manifest-path "$planted/miri/Cargo.toml" \
            --target-dir "$planted/target"
        cargo +nightly miri test --locked --no-default-features --lib -- \
            hardware:: layers:: --skip gpu --skip gemm --skip im2col --skip workers
        # Rayon's scopes do not keep Miri's rules of borrowing, and its queues are not emptied at
        # the end; all else is checked. Powers must have the same last bits each time.
        MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-disable-stacked-borrows -Zmiri-ignore-leaks"
        MIRIFLAGS+=" -Zmiri-deterministic-floats"
        cargo +nightly miri test --locked --no-default-features --lib -- workers bands
        cargo +nightly miri test --locked --no-default-features --test engines -- \
            nan_in_an_image a_tie a_window windows_behind
        ;;
    valgrind)
        command -v valgrind > /dev/null || { echo "valgrind is not installed"; exit 1; }
        rustc -g -o "$planted/read" "$planted/read.rs"
        must_find 'Invalid read' valgrind -q --error-exitcode=1 "$planted/read"
        runner=CARGO_TARGET_$(tr 'a-z-' 'A-Z_' <<< "$host")_RUNNER
        export "$runner=valgrind -q --error-exitcode=1"
        cargo test --locked --test engines -- \
            image_alone whole_networks winograd gradient_of_a_batch
        unset "$runner"
        ;;
    aarch64)
        rustup target add aarch64-unknown-linux-gnu
        cargo check --locked --target aarch64-unknown-linux-gnu --lib \
            --no-default-features --features mnist
        ;;
    *)
        echo "no part is called $part"
        exit 2
        ;;
    esac
done
echo "nothing found"
