#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test. The last line counts them: "N passed, M failed, K skipped".
# usage: ./test.sh [PART...]       PART: lint, unit, asan, fuzz, system, system-asan; default: all of them
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
root=$PWD
deps=$root/tests/.deps
all_parts=(lint unit asan fuzz system system-asan)
jobs=${SLUICE_TEST_JOBS:-4} # more than processors: most tests wait most of the time

heading() { printf '\n== %s\n' "$*"; }

# Does what the command does, unless its input files are the same as at the last time.
unless_done() {
    local stamp=$1 sum
    shift
    sum=$(cat "${inputs[@]}" | cksum)
    [ "$(cat "$stamp" 2>/dev/null)" = "$sum" ] || { "$@" && printf '%s\n' "$sum" >"$stamp"; }
}

# A second run of this script at the same time must not install into the same directories.
install_clients() (
    mkdir -p "$deps"
    exec 9>"$deps/.lock"
    flock 9
    inputs=(tests/system/requirements.txt)
    unless_done "$deps/venv.done" make_venv "$deps/venv" tests/system/requirements.txt
    inputs=(tests/system/requirements-028.txt)
    unless_done "$deps/venv028.done" make_venv "$deps/venv028" tests/system/requirements-028.txt
    inputs=(tests/system/package.json)
    unless_done "$deps/node.done" install_node_client
)

make_venv() {
    rm -rf "$1" "$1.done"
    /usr/bin/python3 -m venv "$1"
    "$1/bin/pip" install --quiet --requirement "$2"
}

install_node_client() {
    rm -rf "$deps/node"
    mkdir -p "$deps/node"
    cp tests/system/package.json "$deps/node/"
    (cd "$deps/node" && PATH=$deps/venv/bin:$PATH npm install --no-package-lock --no-audit --no-fund --loglevel=error)
}

build() (
    mkdir -p build
    exec 9>build/.lock
    flock 9
    for preset in "$@"; do
        targets=(all)
        [ "$preset" != release ] || targets=(sluice openai-sim sluice-faults sluice-bench-load) # its unit tests are never run
        heading "build: $preset"
        # Older than the presets: it may have been configured for others.
        [ "build/$preset/build.ninja" -nt CMakePresets.json ] || cmake --preset "$preset" >"build/$preset.log" || { cat "build/$preset.log"; return 1; }
        cmake --build --preset "$preset" --target "${targets[@]}" 9>&-
    done
)

# A part that leaves no results counts as one failure; count-tests says so.
note() { printf '%s\n' "$1" >>"$results/expected"; }

run_lint() {
    heading "static analysis"
    note lint.txt
    tests/lint/run build/debug 2>&1 | tee "$results/lint.txt" || true
}

run_units() {
    local preset=$1
    heading "unit tests: $preset"
    note "unit-$preset.xml"
    ctest --preset "$preset" --output-junit "$results/unit-$preset.xml" --no-tests=error --parallel "$jobs" \
        --repeat until-pass:2 \
        --test-output-size-passed 1000000 --test-output-size-failed 1000000 || true
}

run_fuzz() {
    heading "fuzz, a short run"
    [ -x tests/fuzz/run ] || { echo "no tests/fuzz/run"; return 0; }
    note fuzz.txt
    tests/fuzz/run 5 2>&1 | tee "$results/fuzz.txt" || true
}

# Real servers on a busy machine: what fails is tried twice more, by itself a moment later, and is told of as a rerun.
run_system() {
    local preset=$1
    heading "system tests: $preset"
    note "system-$preset.xml"
    SLUICE_BIN=$root/build/$preset/sluice SLUICE_SIM_BIN=$root/build/release/openai-sim \
        SLUICE_ASAN=$([ "$preset" = asan ] && echo yes || true) PYTHONDONTWRITEBYTECODE=1 \
        "$deps/venv/bin/python" -m pytest tests/system -c tests/system/pytest.ini -p no:cacheprovider --tb=short -q -n "$jobs" \
        --reruns 2 --reruns-delay 1 -r fER \
        --junitxml "$results/system-$preset.xml" || true
}

# Counters of another build would be complained of by each process that ends.
forget_coverage() { find build/asan -name '*.gcda' -delete; }

# Which lines the parts that were built for it ran. What is required holds for the unit and the system tests together.
run_coverage() {
    local required=0
    heading "coverage"
    case " $* " in *" asan "*) case " $* " in *" system-asan "*) required=90 ;; esac ;; esac
    note coverage.txt
    tests/coverage build/asan "$required" 2>&1 | tee "$results/coverage.txt" || true
}

main() {
    local part presets=() counted=
    [ $# -gt 0 ] || set -- "${all_parts[@]}"
    for part in "$@"; do
        case $part in
        lint | unit) presets+=(debug) ;;
        asan) presets+=(asan) counted=yes ;;
        fuzz) ;;
        system) presets+=(release) ;;
        system-asan) presets+=(release asan) counted=yes ;;
        *) sed -n '2,3s/^# //p' "$0" >&2; exit 2 ;;
        esac
    done
    results=$(mktemp -d)
    trap 'rm -rf "$results"' EXIT
    touch "$results/expected"

    scripts/install-deps build run test
    install_clients
    mapfile -t presets < <(printf '%s\n' "${presets[@]}" | awk 'NF && !seen[$0]++')
    build "${presets[@]}"
    [ -z "$counted" ] || forget_coverage
    for part in "$@"; do
        case $part in
        lint) run_lint ;;
        unit) run_units debug ;;
        asan) run_units asan ;;
        fuzz) run_fuzz ;;
        system) run_system release ;;
        system-asan) run_system asan ;;
        esac
    done
    [ -z "$counted" ] || run_coverage "$@"
    echo
    "$deps/venv/bin/python" tests/system/count_tests.py "$results"
}

main "$@"
