# Sourced by demo.sh and check.sh, from the project's root: what they need of the system, and how they build.
# shellcheck shell=bash

WANTED_WEBHOOKS=standardwebhooks@1.1.1

say() { printf '%s: %s\n' "$PROGRAM" "$*"; }
die() { printf '%s: %s\n' "$PROGRAM" "$*" >&2; exit 1; }

# The demo does without the last group, "check", which only tests use.
wanted_packages() {
	local drop=''
	[ "$PROGRAM" != demo.sh ] || drop='/^# check/,$d'
	sed -e "$drop" -e '/^#/d' tests/packages.txt
}

missing_packages() {
	local name
	wanted_packages | while read -r name; do
		dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed || echo "$name"
	done
}

# install_packages ASK: installs what is missing. ASK is "ask" to ask first when there is a terminal.
install_packages() {
	local missing answer
	command -v apt-get >/dev/null || die "needs Debian 12 (or a relative with apt-get); see tests/packages.txt"
	missing=$(missing_packages)
	[ -n "$missing" ] || return 0
	say "these Debian packages are missing:" && fold -s -w 100 <<<"$(tr '\n' ' ' <<<"$missing")" | sed 's/^/    /'
	if [ "$1" = ask ] && [ -t 0 ]; then
		read -r -p "$PROGRAM: install them with apt-get? No service of this machine is started or changed. [Y/n] " answer
		case $answer in '' | [Yy]*) ;; *) die "nothing installed; --yes does not ask" ;; esac
	fi
	mkdir -p build
	say "installing (log: build/install.log)"
	# shellcheck disable=SC2086 # names are words
	install_quietly $missing >build/install.log 2>&1 || { tail -n 25 build/install.log >&2; die "installing failed"; }
}

install_quietly() {
	export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
	apt-get update || return
	if apt-get install --simulate --no-install-recommends "$@" | grep '^Remv'; then
		echo "the packages above would be removed (another mail server?): nothing installed"
		return 1
	fi
	echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections || return
	forbid_services
	apt-get install --yes --no-install-recommends "$@"
	local status=$?
	allow_services
	[ $status -ne 0 ] || leave_disabled "$@"
	return $status
}

# While packages are installed no service starts: policy-rc.d says so (invoke-rc.d's exit status 101).
POLICY=/usr/sbin/policy-rc.d
forbid_services() {
	trap allow_services EXIT
	[ ! -e $POLICY ] || mv $POLICY $POLICY.before-waybill
	printf '#!/bin/sh\nexit 101\n' >$POLICY
	chmod 755 $POLICY
}
allow_services() {
	rm -f $POLICY
	[ ! -e $POLICY.before-waybill ] || mv $POLICY.before-waybill $POLICY
	trap - EXIT
}

# The services of the packages just installed do not start at the next boot either: nobody asked for them.
leave_disabled() {
	command -v systemctl >/dev/null || return 0
	local name units
	for name in "$@" postgresql-common; do
		units=$(dpkg -L "$name" 2>/dev/null | sed -n 's|.*/lib/systemd/system/\([^/@]*\.service\)$|\1|p')
		# shellcheck disable=SC2086
		[ -z "$units" ] || systemctl disable $units || true
	done
}

# The verifier of webhooks that is not ours; without Node or npm, the receiver falls back on Python's.
install_verifier() {
	command -v node >/dev/null && command -v npm >/dev/null || return 0
	[ ! -e build/npm/node_modules/standardwebhooks/package.json ] || return 0
	mkdir -p build/npm
	npm install --no-save --no-package-lock --no-audit --no-fund --ignore-scripts --fetch-retries=1 --fetch-timeout=20000 \
		--prefix build/npm "$WANTED_WEBHOOKS" </dev/null >build/npm/install.log 2>&1 ||
		say "npm cannot get $WANTED_WEBHOOKS (build/npm/install.log): Python will verify the webhooks"
}

# build PRESET
build() {
	local log=build/$1.log
	mkdir -p build
	say "building preset $1 (log: $log)"
	{ cmake --preset "$1" && cmake --build --preset "$1"; } >"$log" 2>&1 </dev/null || { tail -n 60 "$log" >&2; die "the build failed"; }
}
