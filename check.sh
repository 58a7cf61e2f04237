#!/bin/bash
# Installs what is missing, builds with sanitizers, runs every test. Words given go to ctest: ./check.sh -L unit
set -u
cd "$(dirname "$(readlink -f "$0")")" || exit
PROGRAM=check.sh
. tests/stack/install.sh

[ "$(id -u)" = 0 ] || die "needs root: the scenarios start Postfix and Dovecot; units alone: cmake --workflow --preset dev"
install_packages yes
install_verifier
build dev
# Units run side by side; scenarios take turns (RESOURCE_LOCK).
exec ctest --test-dir build/dev --output-on-failure --parallel "$(nproc)" "$@" </dev/null
