#!/bin/sh
# Plays the incident with real processes under `hence run`, asks hence why it happened, then plays it again
# with the mended units. Needs cargo and Linux; neither root nor systemd. See README.md beside this file.
#
#   --keep             keep the folder with units, programs, logs and ledgers
#   --dir DIR          use DIR (new or empty) instead of a throw-away folder, and keep it
#   --metrics-port N   where the collector serves its own metrics (51681, or the next free port)
#   --otlp-port N      where the collector receives (4318, or the next free port)
#
# HENCE=/path/to/hence uses that program instead of building one.
# Exit status: 0 if the first run leaked and the second stayed quiet, 1 if not or if something failed.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
upgrade_at=4 # seconds into a run
seconds_before=38
seconds_mended=14

say() { printf '\n== %s\n' "$*"; }
note() { printf '   [%s] %s\n' "$label" "$*"; }
fail() {
    printf 'run.sh: %s\n' "$*" >&2
    exit 1
}

keep='' dir='' metrics_port=51681 otlp_port=4318 label=run.sh manager='' managers=''
while [ $# -gt 0 ]; do
    case $1 in
    --keep) keep=yes && shift && continue ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "$0" && exit 0 ;;
    --dir | --metrics-port | --otlp-port) [ $# -ge 2 ] || fail "$1 needs a value" ;;
    *) fail "unknown option $1 (see --help)" ;;
    esac
    case $1 in
    --dir) dir=$2 keep=yes ;;
    --metrics-port) metrics_port=$2 ;;
    --otlp-port) otlp_port=$2 ;;
    esac
    shift 2
done

# Ports: 127.0.0.1 only, but another program may already hold one.
port_taken() {
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q ":$(printf %04X "$1") [0-9A-F]*:[0-9A-F]* 0A "
}
free_port() {
    case $1 in '' | *[!0-9]* | ??????*) fail "not a port: $1" ;; esac
    port=$1
    while port_taken "$port"; do port=$((port + 1)); done
    [ "$port" -ge 1 ] && [ "$port" -le 65535 ] || fail "no such port: $port"
    echo "$port"
}
metrics_port=$(free_port "$metrics_port")
otlp_port=$(free_port "$otlp_port")
[ "$metrics_port" != "$otlp_port" ] || fail "both ports are $otlp_port"

# Pids of our own processes: those whose executable lies in our folder. $1: path pattern below the folder.
running() {
    # ls complains about processes that are gone or another user's; neither is ours.
    { ls -l /proc/[0-9]*/exe 2>/dev/null || :; } |
        sed -n "s|.* /proc/\([0-9]*\)/exe -> $dir/$1\( (deleted)\)\{0,1\}\$|\1|p"
}
count() { running "$1" | wc -l | tr -d ' '; }

# Ends what is left, by pid, and gives it two seconds before SIGKILL.
end_processes() {
    for pid in $(running '.*'); do kill -TERM "$pid" 2>/dev/null || :; done
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ "$(count '.*')" -gt 0 ] || return 0
        sleep 0.2
    done
    for pid in $(running '.*'); do kill -KILL "$pid" 2>/dev/null || :; done
}
# Removes the control groups of hence that processes which were left behind kept it from removing.
end_groups() {
    for pid in $managers; do
        find /sys/fs/cgroup -maxdepth 8 -depth -type d \( -path "*/hence-$pid" -o -path "*/hence-$pid/*" \) \
            -exec rmdir {} \; 2>/dev/null || :
    done
}
clean_up() {
    status=$?
    trap - EXIT
    trap '' INT TERM HUP
    if [ -n "$manager" ]; then
        kill -TERM "$manager" 2>/dev/null || :
        wait "$manager" 2>/dev/null || :
    fi
    [ -n "$dir" ] && [ -d "$dir" ] || exit "$status"
    end_processes
    end_groups
    if [ -n "$keep" ]; then say "Kept: $dir"; else rm -rf "$dir"; fi
    exit "$status"
}

say "Building"
set -- build --release --manifest-path "$root/Cargo.toml" -p hence --examples
[ -n "${HENCE:-}" ] || set -- "$@" --bin hence
cargo "$@"
target=$(cargo metadata --manifest-path "$root/Cargo.toml" --format-version 1 --no-deps |
    sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/release
hence=${HENCE:-$target/hence}
[ -x "$hence" ] || fail "no such program: $hence"

if [ -n "$dir" ]; then
    mkdir -p "$dir"
    dir=$(CDPATH='' cd -- "$dir" && pwd -P)
    [ -z "$(ls -A "$dir")" ] || fail "$dir is not empty"
else
    dir=$(mktemp -d "${TMPDIR:-/tmp}/hence-incident.XXXXXX")
    dir=$(CDPATH='' cd -- "$dir" && pwd -P)
fi
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
# The path goes into unit files, where a blank or a % would mean something else.
case $dir in *[!A-Za-z0-9/._-]*) fail "use a folder without special characters, not $dir" ;; esac
[ ${#dir} -le 80 ] || fail "the path of a unix socket is short, and $dir is too long for one"

# Lays out one play under $dir/$1 from the units in $2 and the starter in $3, with the old collector.
# The units say /usr/bin, /etc and /run as on a real machine; here these are in the folder.
lay_out() {
    mkdir -p "$dir/$1/bin" "$dir/$1/etc" "$dir/$1/run"
    cp "$target/examples/collector-0-43-3" "$dir/$1/bin/aws-otel-collector"
    cp "$target/examples/foo" "$dir/$1/bin/foo"
    cp "$here/$3/start-foo" "$dir/$1/bin/start-foo"
    chmod +x "$dir/$1/bin/start-foo"
    sed -e "s,:51681,:$metrics_port,;s,:4318,:$otlp_port," "$here/otel.yaml" >"$dir/$1/etc/otel.yaml"
    (cd "$here/$2" && find . -type f) | while IFS= read -r file; do
        mkdir -p "$dir/$1/units/${file%/*}"
        sed -e "s,/usr/bin/,$dir/$1/bin/,g;s,/etc/,$dir/$1/etc/,g;s,/run/,$dir/$1/run/,g" \
            "$here/$2/$file" >"$dir/$1/units/$file"
    done
}

# What a package upgrade does: put the new program in the place of the old, and restart the service.
upgrade() {
    pid=$(running "$1/bin/aws-otel-collector")
    case $pid in '' | *[!0-9]*) fail "expected one running collector, found: ${pid:-none}" ;; esac
    old=$("$dir/$1/bin/aws-otel-collector" --version)
    cp "$target/examples/collector-0-45-1" "$dir/$1/bin/.upgrade"
    mv -f "$dir/$1/bin/.upgrade" "$dir/$1/bin/aws-otel-collector"
    new=$("$dir/$1/bin/aws-otel-collector" --version)
    note "UPGRADE: ${old##* } -> ${new##* }, and the old collector (pid $pid) is told to end"
    kill -TERM "$pid"
}

# Runs the units of $1 for $2 seconds under hence, and asks why about $3 shortly before the end, while it
# still runs. Counts by itself, without asking hence:
# most: most foo processes at one time; foos: the pids of all of them, in the order seen.
play() {
    label=$1 most=0 foos='' last='' upgraded='' asked=''
    "$hence" run "$dir/$1/units" --ledger "$dir/$1/ledger" --for "${2}s" &
    manager=$! managers="$managers $!"
    begin=$(date +%s)
    while kill -0 "$manager" 2>/dev/null; do
        second=$(($(date +%s) - begin))
        pids=$(running "$1/bin/foo" | sort -n | tr '\n' ' ')
        if [ "$pids" != "$last" ]; then
            last=$pids alive=0
            for pid in $pids; do
                alive=$((alive + 1))
                case " $foos " in *" $pid "*) ;; *) foos="$foos $pid" ;; esac
            done
            [ "$alive" -le "$most" ] || most=$alive
            note "after $second s, foo processes: $alive${pids:+ (pid ${pids% })}"
        fi
        if [ -z "$upgraded" ] && [ "$second" -ge "$upgrade_at" ]; then
            upgrade "$1"
            upgraded=yes
        fi
        if [ -z "$asked" ] && [ "$second" -ge $(($2 - 3)) ]; then
            asked=yes
            ask why "$3"
        fi
        [ "$second" -lt $(($2 + 20)) ] || fail "hence run did not end after $2 s"
        sleep 1
    done
    status=0
    wait "$manager" || status=$?
    manager=''
    [ "$status" -eq 0 ] || note "hence run ended with status $status"
    [ -n "$upgraded" ] || fail "hence run ended before the upgrade"
    note "hence run has ended; foo processes still alive: $(count "$1/bin/foo")"
}

ask() {
    printf '\n$ hence %s\n' "$*"
    "$hence" "$@" --ledger "$dir/$label/ledger" || note "status $?"
}

lay_out before units bin
lay_out mended units-mended bin-mended

say "The incident, $seconds_before s: foo requires a collector that an upgrade breaks"
play before "$seconds_before" foo.service
before=$most
ask leaks
ask loops
end_processes

say "The same upgrade with the mended units, $seconds_mended s"
play mended "$seconds_mended" aws-otel-collector.service
mended=$most mended_foos=$foos mended_left=$(count mended/bin/foo)
ask leaks
ask loops

say "Result"
wrong=''
echo "   before: $before foo processes at one time, of which one was wanted"
[ "$before" -ge 4 ] || wrong="${wrong}the first run did not leak; "
echo "   mended: $mended at one time, pid$mended_foos from beginning to end; $mended_left left behind"
[ "$mended" -eq 1 ] || wrong="${wrong}the second run had more than one foo; "
[ "$(echo "$mended_foos" | wc -w)" -eq 1 ] || wrong="${wrong}foo was restarted in the second run; "
[ "$mended_left" -eq 0 ] || wrong="${wrong}the second run left foo behind; "
[ -z "$wrong" ] || fail "not as expected: ${wrong%; }"
