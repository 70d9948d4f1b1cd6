#!/usr/bin/env bash
# Installs what is missing, builds, and serves the proxy on this machine until Ctrl-C. `./start.sh --help` says more.
set -euo pipefail

usage() {
    cat <<'END'
usage: ./start.sh [--port N] [--front NAME] [--env-file FILE]

Installs what is missing, builds Sluice, and serves it at http://localhost:8000 until Ctrl-C.

  --port N         the port to serve (default 8000)
  --front NAME     the web server in front of Sluice: lighttpd (default), nginx or apache
  --env-file FILE  the settings (default .env beside this script; made from .env.example if it is not there)
  --help           this text

Every setting of .env.example may also be given in the environment, which beats the file:

  OPENAI_API_KEY=sk-... CLIENT_API_KEYS=a-secret,another ./start.sh --port 9000

Without an OpenAI key it starts a stand-in for OpenAI and says so.
END
}

# ---------------------------------------------------------------------------------------------------------------
# small things

say() { printf '%s\n' "$*"; }
fail() { printf 'start.sh: %s\n' "$*" >&2; exit 1; }

# A script started in the background by another one inherits "ignore SIGINT", which bash cannot undo; env can.
heed_interrupts() {
    local ignored
    ignored=$(sed -n 's/^SigIgn:[[:space:]]*//p' "/proc/$$/status" 2>/dev/null) || return 0
    if (( 16#${ignored:-0} & 2 )) && [ -z "${SLUICE_START_AGAIN:-}" ]; then
        SLUICE_START_AGAIN=1 exec env --default-signal=INT "$BASH" "${BASH_SOURCE[0]}" "$@"
    fi
    unset SLUICE_START_AGAIN
}

# Waits for a command in a process group of its own, so that a signal to this script alone ends all of it.
run_and_wait() {
    set -m
    "$@" </dev/null &
    children+=($!)
    set +m
    local status=0
    wait $! || status=$?
    children=("${children[@]:0:${#children[@]}-1}")
    return "$status"
}

absolute() { case $1 in /*) printf %s "$1" ;; *) printf %s "$caller_dir/$1" ;; esac; }

# ---------------------------------------------------------------------------------------------------------------
# arguments

parse_arguments() {
    port=8000 front=lighttpd env_file=$root/.env
    while [ $# -gt 0 ]; do
        case $1 in
        --port | --front | --env-file) [ $# -gt 1 ] || { usage >&2; fail "$1 needs a value"; } ;;&
        --port) port=$2; shift ;;
        --front) front=$2; shift ;;
        --env-file) env_file=$(absolute "$2"); shift ;;
        --port=*) port=${1#*=} ;;
        --front=*) front=${1#*=} ;;
        --env-file=*) env_file=$(absolute "${1#*=}") ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; fail "unknown argument: $1" ;;
        esac
        shift
    done
    [[ $port =~ ^[1-9][0-9]{0,4}$ ]] && [ "$port" -le 65535 ] || fail "--port wants a number from 1 to 65535, not '$port'"
    declare -F "front_$front" >/dev/null || fail "--front $front is not known; there are: lighttpd, nginx, apache"
}

# ---------------------------------------------------------------------------------------------------------------
# settings: the environment beats the file, as in Sluice itself

# Prints the value of NAME in the env file, by the grammar of Sluice's own parser (include/config/sluice/dotenv.h).
from_file() {
    awk -v wanted="$1" '
        # Takes a line that is within quotes: adds to value, and clears quote where it ends.
        function take(line,    i, c) {
            for (i = 1; i <= length(line); i++) {
                c = substr(line, i, 1)
                if (c == quote) { quote = ""; return }
                if (c == "\\" && quote == "\"") {
                    c = substr(line, ++i, 1)
                    if (c in escapes) c = escapes[c]; else c = "\\" c
                }
                value = value c
            }
            value = value "\n"
        }
        BEGIN {
            escapes["n"] = "\n"; escapes["t"] = "\t"; escapes["r"] = "\r"
            escapes["\""] = "\""; escapes["\\"] = "\\"; escapes["$"] = "$"
        }
        { sub(/\r$/, "") }
        quote != "" { take($0); if (mine) result = value; next }
        match($0, /^[ \t]*(export[ \t]+)?[A-Za-z_][A-Za-z0-9_.-]*[ \t]*=[ \t]*/) {
            name = substr($0, 1, RLENGTH)
            rest = substr($0, RLENGTH + 1)
            gsub(/^[ \t]*(export[ \t]+)?|[ \t]*=[ \t]*$/, "", name)
            mine = (name == wanted)
            value = ""
            if (rest ~ /^["'\'']/) {
                quote = substr(rest, 1, 1)
                take(substr(rest, 2))
            } else {
                value = rest
                sub(/^#.*|[ \t]+#.*$/, "", value)
                sub(/[ \t]+$/, "", value)
            }
            if (mine) result = value
        }
        END { printf "%s", result }
    ' "$env_file"
}

setting() { if [ -n "${!1+set}" ]; then printf '%s' "${!1}"; else from_file "$1"; fi; }

random_key() { printf 'sk-sluice-%s' "$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')"; }

make_env_file() {
    local draft
    [ ! -e "$env_file" ] || return 0
    draft=$(mktemp "$env_file.XXXXXX")                     # mktemp gives it mode 0600
    sed "s/^CLIENT_API_KEYS=.*/CLIENT_API_KEYS=$(random_key)/" "$root/.env.example" >"$draft"
    # ln, unlike mv, never replaces a file that somebody else made meanwhile.
    if ln "$draft" "$env_file" 2>/dev/null; then say "Made $env_file with a client key of its own."; fi
    rm -f "$draft"
    [ -e "$env_file" ] || fail "cannot make $env_file"
}

# The first key that a client may use, for the examples.
some_client_key() {
    local keys key
    keys=$(setting CLIENT_API_KEYS)
    IFS=, read -r key _ <<<"${keys#,}" || true
    key=$(printf '%s' "$key" | sed 's/^[[:space:]]*//; s/[[:space:]]*$//')
    [ -n "$key" ] || key=$(setting API_KEY_MAPPING | tr '\n' ' ' | sed -n 's/^[^"]*"\([^"]*\)"[[:space:]]*:.*/\1/p')
    printf '%s' "$key"
}

is_loopback_url() {
    case $1 in
    http://127.* | http://localhost | http://localhost[:/]* | 'http://[::1]'*) return 0 ;;
    *) return 1 ;;
    esac
}

# Sets upstream (openai, own, simulator) and, where there is no key to use, a placeholder for it.
choose_upstream() {
    local url
    placeholder_key=
    url=$(setting OPENAI_BASE_URL)
    if [ -n "$url" ]; then
        upstream=own
        # A server on this machine (a model of one's own, a simulator) mostly asks for no key, but Sluice does.
        if [ -z "$(setting OPENAI_API_KEY)" ] && [ -z "$(setting API_KEY_MAPPING)" ] && is_loopback_url "$url"; then
            placeholder_key=sk-no-key
        fi
    elif [ -n "$(setting OPENAI_API_KEY)" ] || [ -n "$(setting API_KEY_MAPPING)" ]; then
        upstream=openai
    else
        upstream=simulator placeholder_key=sk-simulator
    fi
}

# ---------------------------------------------------------------------------------------------------------------
# building

build() {
    mkdir -p "$root/build"
    exec 9>"$root/build/.lock"
    flock 9                                                # two first runs at once build one after the other
    [ -f "$root/build/release/build.ninja" ] || say "Building (once; about half a minute)..."
    if ! run_and_wait build_release >"$run_dir/build.log" 2>&1 9>&-; then
        cat "$run_dir/build.log" >&2
        fail "the build failed"
    fi
    exec 9>&-
}

build_release() {
    cd "$root" &&
        { [ -f build/release/build.ninja ] || cmake --preset release; } &&
        cmake --build build/release --target sluice openai-sim
}

# ---------------------------------------------------------------------------------------------------------------
# processes

# Starts a command in the background as NAME; should this script be killed outright, the kernel ends the child.
launch() {
    local name=$1 keep=()
    shift
    if command -v setpriv >/dev/null; then keep=(setpriv --pdeathsig TERM --); fi
    set -m                                                 # a process group each: Ctrl-C reaches this script only
    "${keep[@]}" "$@" </dev/null &
    children+=($!) names[$!]=$name
    set +m
}

alive() { kill -0 "$1" 2>/dev/null; }

# Waits until none of the processes is left, for SECONDS at most.
wait_gone() {
    local seconds=$1 end pid
    shift
    end=$(( $(now_ms) + seconds * 1000 ))
    for pid in "$@"; do
        while alive "$pid"; do
            [ "$(now_ms)" -lt "$end" ] && [ -z "$hurry" ] || return 1
            sleep 0.02
        done
    done
}

now_ms() { local t=${EPOCHREALTIME/[.,]/}; printf '%s' "${t%???}"; }

# Sluice first: it finishes what is open, through a web server that is still there.
stop_everything() {
    local status=$? pid
    trap 'hurry=yes' INT TERM HUP
    trap - EXIT
    exec 9>&- || true
    for pid in "${children[@]}"; do
        [ "${names[$pid]:-}" = sluice ] && kill -TERM "$pid" 2>/dev/null && wait_gone 5 "$pid" || true
    done
    for pid in "${children[@]}"; do kill -TERM -- "-$pid" 2>/dev/null || true; done
    wait_gone 3 "${children[@]}" || true
    for pid in "${children[@]}"; do kill -KILL -- "-$pid" 2>/dev/null || true; done
    wait "${children[@]}" 2>/dev/null || true
    [ -z "$run_dir" ] || rm -rf "$run_dir"
    exit "$status"
}

# Returns when the first of the children ends, and tells which. For `wait -n` bash does not know any more of one that a signal
# has killed while another command ran; `wait` with its number does.
wait_for_an_end() {
    local pid ended='' status=0
    for pid in "${children[@]}"; do alive "$pid" || ended=$pid; done
    if [ -n "$ended" ]; then
        wait "$ended" 2>/dev/null || status=$?
    else
        wait -n -p ended "${children[@]}" 2>/dev/null || status=$?
    fi
    fail "${names[${ended:-0}]:-a process} ended unexpectedly (status $status)"
}

# ---------------------------------------------------------------------------------------------------------------
# the three servers

start_simulator() {
    launch simulator "$root/build/release/openai-sim" --port 0 --port-file "$run_dir/sim.port" >"$run_dir/sim.log"
    local end=$(( $(now_ms) + 10000 ))
    until [ -s "$run_dir/sim.port" ]; do
        alive "${children[-1]}" && [ "$(now_ms)" -lt "$end" ] || { cat "$run_dir/sim.log" >&2; fail "the simulator did not start"; }
        sleep 0.02
    done
    export OPENAI_BASE_URL="http://127.0.0.1:$(tr -d '[:space:]' <"$run_dir/sim.port")/v1"
}

start_sluice() {
    local end
    [ -z "$placeholder_key" ] || export OPENAI_API_KEY=$placeholder_key
    launch sluice "$root/build/release/sluice" --env-file "$env_file" --listen "unix:$run_dir/sluice.sock"
    end=$(( $(now_ms) + 10000 ))
    until [ -S "$run_dir/sluice.sock" ]; do
        alive "${children[-1]}" || fail "sluice did not start; it says why above${LOG_FILE:+ or in $LOG_FILE}"
        [ "$(now_ms)" -lt "$end" ] || fail "sluice did not open its socket within 10 seconds"
        sleep 0.02
    done
}

has_ipv6_loopback() { grep -q '^0\{31\}1 ' /proc/net/if_inet6 2>/dev/null; }

# Each front is a function front_NAME: writes its configuration to $run_dir and launches itself in the foreground.
front_lighttpd() {
    local files
    files=$(ulimit -Hn)
    [ "$files" != unlimited ] && [ "$files" -le 65536 ] || files=65536
    {
        say "server.compat-module-load = \"disable\""
        say "server.document-root = \"$run_dir\""
        say "server.upload-dirs = ( \"$run_dir\" )"
        say "server.bind = \"127.0.0.1\""
        say "server.port = $port"
        if has_ipv6_loopback; then say "\$SERVER[\"socket\"] == \"[::1]:$port\" { }"; fi
        say "server.max-fds = $files"
        say "var.sluice_socket = \"$run_dir/sluice.sock\""
        say "var.sluice_errors = \"$root/deploy/lighttpd/errors\""
        say "include \"$root/deploy/lighttpd/sluice.conf\""
    } >"$run_dir/lighttpd.conf"
    launch lighttpd lighttpd -D -f "$run_dir/lighttpd.conf" 2>"$run_dir/front.log"
}

front_nginx() {
    mkdir "$run_dir/sluice"
    ln -s "$root/deploy/nginx/sluice/location.conf" "$run_dir/sluice/location.conf"
    {
        say "server unix:$run_dir/sluice.sock;"
        say "keepalive 64;"
    } >"$run_dir/sluice/backend.conf"
    {
        say "listen 127.0.0.1:$port backlog=4096;"
        if has_ipv6_loopback; then say "listen [::1]:$port;"; fi
        say "fastcgi_keep_conn on;"
    } >"$run_dir/sluice/site.conf"
    {
        if [ -n "$front_user" ]; then say "user $front_user $front_user;"; fi
        say "pid $run_dir/nginx.pid;"
        say "worker_processes auto;"
        say "events { worker_connections 8192; }"
        say "http {"
        say "    access_log off;"
        local kind
        for kind in client_body proxy fastcgi uwsgi scgi; do say "    ${kind}_temp_path $run_dir/$kind;"; done
        say "    include $root/deploy/nginx/sluice.conf;"
        say "}"
    } >"$run_dir/nginx.conf"
    launch nginx nginx -c "$run_dir/nginx.conf" -e "$run_dir/front.log" -g "daemon off;" 2>>"$run_dir/front.log"
}

front_apache() {
    local module
    {
        say "ServerRoot \"$run_dir\""
        say "DefaultRuntimeDir \"$run_dir\""
        say "PidFile \"$run_dir/apache.pid\""
        say "ErrorLog \"$run_dir/front.log\""
        say "ServerName localhost"
        for module in mpm_event authz_core authz_host headers setenvif env http2 proxy proxy_fcgi reqtimeout; do
            say "LoadModule ${module}_module /usr/lib/apache2/modules/mod_$module.so"
        done
        if [ -n "$front_user" ]; then say "User $front_user"; say "Group $front_user"; fi
        say "Listen 127.0.0.1:$port"
        if has_ipv6_loopback; then say "Listen [::1]:$port"; fi
        say "Define SLUICE_PLAIN"
        say "Define SLUICE_ADDRESS *:$port"
        say "Define SLUICE_BACKEND \"unix:$run_dir/sluice.sock|fcgi://sluice\""
        say "Define SLUICE_WORKER fcgi://sluice"
        say "Include \"$root/deploy/apache-proxy-fcgi/sluice.conf\""
    } >"$run_dir/apache.conf"
    launch apache apache2 -D FOREGROUND -f "$run_dir/apache.conf" 2>>"$run_dir/front.log"
}

# nginx and Apache that root started work as www-data: it must reach the socket.
choose_front_user() {
    front_user=
    if [ "$front" != lighttpd ] && [ "$(id -u)" -eq 0 ]; then
        front_user=www-data
        export LISTEN_GROUP=www-data
        chmod 0711 "$run_dir"
    fi
}

port_is_taken() {
    local host
    for host in 127.0.0.1 ::1; do
        if (exec 3<>"/dev/tcp/$host/$port") 2>/dev/null; then return 0; fi
    done
    return 1
}

health() { curl --silent --fail --max-time 2 --noproxy '*' "http://127.0.0.1:$port/health"; }

wait_until_healthy() {
    local end=$(( $(now_ms) + 15000 )) pid
    until health >/dev/null; do
        for pid in "${children[@]}"; do
            if ! alive "$pid"; then
                cat "$run_dir/front.log" >&2
                fail "${names[$pid]} ended while it started"
            fi
        done
        if [ "$(now_ms)" -ge "$end" ]; then
            cat "$run_dir/front.log" >&2
            fail "http://127.0.0.1:$port/health gave no good answer within 15 seconds: $(health 2>&1 || curl --silent --show-error --max-time 2 --noproxy '*' "http://127.0.0.1:$port/health" 2>&1)"
        fi
        sleep 0.02
    done
}

# ---------------------------------------------------------------------------------------------------------------
# the last lines

# Quotes a text for the shell, and for Python.
for_shell() { printf "'%s'" "${1//\'/\'\\\'\'}"; }
for_python() { local t=${1//\\/\\\\}; printf '"%s"' "${t//\"/\\\"}"; }

say_where() {
    local key url
    key=$(some_client_key)
    url=http://localhost:$port$(setting BASE_PATH)
    case $upstream in
    openai) say "Upstream: OpenAI" ;;
    own) say "Upstream: $(setting OPENAI_BASE_URL)" ;;
    simulator)
        say "**********************************************************************************"
        say "  No OPENAI_API_KEY: a SIMULATOR answers instead of OpenAI. Its answers mean nothing."
        say "  For the real thing write your key into $env_file and start again."
        say "**********************************************************************************"
        ;;
    esac
    if [ -n "$placeholder_key" ] && [ "$upstream" = own ]; then
        say "There is no OPENAI_API_KEY: Sluice sends \"$placeholder_key\" to this server on your own machine."
    fi
    if [ -z "$key" ]; then
        say "There is no client key (CLIENT_API_KEYS), so every call is answered with 401." >&2
        key=a-client-key
    fi
    cat <<END

Sluice is ready at http://localhost:$port (Ctrl-C stops it). Try it:

curl $url/v1/chat/completions -H $(for_shell "Authorization: Bearer $key") -H 'Content-Type: application/json' -d '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello!"}]}'

or in Python, after \`pip install openai\`:

from openai import OpenAI
client = OpenAI(base_url="$url/v1", api_key=$(for_python "$key"))
answer = client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello!"}])
print(answer.choices[0].message.content)

END
}

main() {
    caller_dir=$PWD
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
    PATH=$PATH:/usr/sbin:/sbin                             # where Debian keeps lighttpd, and users have no look
    declare -ga children=() names=()
    hurry='' run_dir=''
    parse_arguments "$@"
    # A path given in the environment is seen from where the caller stands, one in the file from beside the file.
    [ -z "${STATE_DIR:-}" ] || export STATE_DIR="$(absolute "$STATE_DIR")"
    [ -z "${LOG_FILE:-}" ] || export LOG_FILE="$(absolute "$LOG_FILE")"
    cd "$root"

    port_is_taken && fail "port $port is in use by another program; choose another with --port"
    trap stop_everything EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    run_dir=$(mktemp -d /tmp/sluice.XXXXXX)                # short: a socket's path may have 107 bytes
    "$root/scripts/install-deps" build "${front/lighttpd/run}"
    build
    make_env_file

    choose_upstream
    if [ "$upstream" = simulator ]; then start_simulator; fi
    choose_front_user
    start_sluice
    "front_$front"
    wait_until_healthy
    say_where
    wait_for_an_end
}

heed_interrupts "$@"
main "$@"
