# Shared by the scripts: install what is missing on Debian or Ubuntu. Sourced, not run.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '\033[1m%s\033[0m\n' "$*"; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# install the given Debian packages that are not there yet
install_packages() {
    local missing=()
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    say "Installing ${missing[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# kubectl 1.28 or newer: from the distribution where it has one, from Debian's current release else, from its maker at last
install_kubectl() {
    if command -v kubectl >/dev/null && kubectl version --client -o json 2>/dev/null | python3 -c '
import json, re, sys
minor = re.match(r"\d+", json.load(sys.stdin)["clientVersion"]["minor"]).group()
sys.exit(int(minor) < 28)'; then
        return
    fi
    say "Installing kubectl"
    local work
    work=$(mktemp -d)
    chmod 755 "$work"
    if kubectl_from_debian "$work" || kubectl_from_release "$work"; then
        as_root install -m 755 "$work/kubectl" /usr/local/bin/kubectl
    else
        echo "kubectl could not be installed: put kubectl 1.28 or newer into the PATH" >&2
        rm -rf "$work"
        return 1
    fi
    rm -rf "$work"
}

# take the kubectl package of Debian 13 without adding its release to the machine's package sources
kubectl_from_debian() {
    local work=$1 keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -f $keyring ] || return 1
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
    echo "deb [signed-by=$keyring] http://deb.debian.org/debian trixie main" >"$work/sources.list"
    local options=(-qq -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$work/lists" -o Dir::State::Status=/dev/null -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
    (
        cd "$work"
        as_root apt-get "${options[@]}" update &&
            as_root apt-get "${options[@]}" download kubectl &&
            dpkg-deb --fsys-tarfile kubectl_*.deb | tar -xO ./usr/bin/kubectl >kubectl
    ) >/dev/null 2>&1 && [ -s "$work/kubectl" ]
}

kubectl_from_release() {
    local work=$1 version url
    install_packages curl ca-certificates
    version=$(curl -fsSL --max-time 20 https://dl.k8s.io/release/stable-1.36.txt) || return 1
    url=https://dl.k8s.io/release/$version/bin/linux/$(dpkg --print-architecture)/kubectl
    curl -fsSL "$url" -o "$work/kubectl" &&
        echo "$(curl -fsSL "$url.sha256")  $work/kubectl" | sha256sum --check --status
}

# the project's Python environment, exactly as uv.lock says
install_wherry() {
    install_packages python3 python3-venv ca-certificates
    if ! [ -x "$root/.venv/bin/uv" ] || ! "$root/.venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        local python=python3
        # The distribution's interpreters come first: they are built with all optimisations, others seldom are.
        for candidate in /usr/bin/python3.{14,13,12,11} python3.{14,13,12,11}; do
            command -v "$candidate" >/dev/null && "$candidate" -c 'import venv, ensurepip' 2>/dev/null && python=$candidate && break
        done
        $python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
            echo "Python 3.11 or newer is needed: install python3.11 and its venv package" >&2
            return 1
        }
        say "Making the Python environment"
        $python -m venv "$root/.venv"
        "$root/.venv/bin/pip" install -q --disable-pip-version-check uv
    fi
    (cd "$root" && UV_PROJECT_ENVIRONMENT="$root/.venv" .venv/bin/uv sync -q --frozen --inexact "$@")
}

# what a node needs
install_node() {
    install_packages crun conmon nftables libnftables1 iproute2 kmod
    install_kubectl
}
