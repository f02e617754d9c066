#!/usr/bin/env bash
# Looks for the system libraries that Qt 6 and OpenGL need on Linux, and Xvfb where there is no display.
# On Debian and Ubuntu it installs those that are missing (as root, or by sudo where sudo asks for no password);
# elsewhere it names them. It never fails: what runs next says what it cannot do.
set -u

[ "$(uname -s)" = Linux ] || exit 0
PATH=$PATH:/usr/sbin:/sbin

missing=()

command_or_package() { # command, Debian package
    command -v "$1" >/dev/null 2>&1 || missing+=("$2")
}

libraries=$(ldconfig -p 2>/dev/null) || libraries=
library_or_package() { # file name of the library, Debian package
    case "$libraries" in
    *"	$1 "*) ;;
    *) missing+=("$2") ;;
    esac
}

if [ -z "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
    command_or_package xvfb-run xvfb
    command_or_package xauth xauth
fi
if [ -n "$libraries" ]; then
    while read -r file package; do
        library_or_package "$file" "$package"
    done <<'LIBRARIES'
libEGL.so.1 libegl1
libGL.so.1 libgl1
libGLX_mesa.so.0 libglx-mesa0
libOpenGL.so.0 libopengl0
libglib-2.0.so.0 libglib2.0-0
libdbus-1.so.3 libdbus-1-3
libfontconfig.so.1 libfontconfig1
libxkbcommon-x11.so.0 libxkbcommon-x11-0
libxcb-cursor.so.0 libxcb-cursor0
libxcb-icccm.so.4 libxcb-icccm4
libxcb-image.so.0 libxcb-image0
libxcb-keysyms.so.1 libxcb-keysyms1
libxcb-randr.so.0 libxcb-randr0
libxcb-render-util.so.0 libxcb-render-util0
libxcb-shape.so.0 libxcb-shape0
libxcb-sync.so.1 libxcb-sync1
libxcb-xfixes.so.0 libxcb-xfixes0
libxcb-xkb.so.1 libxcb-xkb1
libxcb-xinerama.so.0 libxcb-xinerama0
LIBRARIES
    # Mesa's drivers are no library on the linker's path
    compgen -G "/usr/lib*/dri/swrast_dri.so" >/dev/null ||
        compgen -G "/usr/lib/*/dri/swrast_dri.so" >/dev/null ||
        compgen -G "/usr/lib/*/libgallium-*.so" >/dev/null ||
        compgen -G "/usr/lib*/libgallium-*.so" >/dev/null ||
        missing+=(libgl1-mesa-dri)
fi
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "Qt and OpenGL may need system libraries that seem to be missing here (Debian's names): ${missing[*]}" >&2
    exit 0
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true 2>/dev/null; then
        echo "System libraries are missing; install them with: sudo apt-get install ${missing[*]}" >&2
        exit 0
    fi
    as_root=(sudo -n)
fi

# Ubuntu 24.04 and Debian 13 renamed some packages for their 64-bit time: libglib2.0-0 is libglib2.0-0t64 there
current_names() {
    local package
    for package in "${missing[@]}"; do
        if apt-cache show "${package}t64" >/dev/null 2>&1; then
            echo "${package}t64"
        else
            echo "$package"
        fi
    done
}
install() {
    local packages
    mapfile -t packages < <(current_names)
    ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --quiet=2 --no-install-recommends "${packages[@]}" </dev/null
}

echo "installing system libraries: ${missing[*]}"
log=$(mktemp)
if ! install >"$log" 2>&1; then
    # the lists of packages are absent or old
    ${as_root[@]+"${as_root[@]}"} apt-get update --quiet=2 </dev/null >>"$log" 2>&1
    if ! install >>"$log" 2>&1; then
        tail -n 5 "$log" >&2
        echo "Could not install: ${missing[*]}" >&2
    fi
fi
rm -f "$log"
exit 0
