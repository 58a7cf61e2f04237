#!/bin/bash
# Shows waybill at work: a private mail relay on loopback, and a mail's whole way through it.
set -u
cd "$(dirname "$(readlink -f "$0")")" || exit
PROGRAM=demo.sh
. tests/stack/install.sh

usage() {
	cat <<'E'
usage: ./demo.sh [--yes] [--keep]    install what is missing, build, start a private stack, play the story, stop
       ./demo.sh --stop              stop a stack that --keep left running

  --yes    install missing Debian packages without asking (also without a terminal)
  --keep   leave the stack running, say what to try next, and write build/demo/env

Everything lives in build/ and listens on loopback; this machine's own services are neither started nor changed.
Needs root: the masters of Postfix and Dovecot do.
E
}

ask=ask keep=()
for word in "$@"; do
	case $word in
	--yes) ask=yes ;;
	--keep) keep=(--keep) ;;
	--stop) exec /usr/bin/python3 -m tests.stack.demo --stop ;;
	--help | -h) usage && exit 0 ;;
	*) usage >&2 && exit 64 ;;
	esac
done

[ "$(id -u)" = 0 ] || die "needs root: the masters of Postfix and Dovecot do; try: sudo ./demo.sh"
install_packages $ask
install_verifier
build release
exec /usr/bin/python3 -m tests.stack.demo --bin-dir build/release/bin "${keep[@]}"
