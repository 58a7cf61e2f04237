#!/bin/sh
# core-symbols.sh NM ALLOWED CORE [OTHER-CORE…]
# Fails, and removes CORE, when it calls something that is neither in ALLOWED nor defined by itself or OTHER-COREs.
set -eu
nm=$1 allowed=$2 core=$3
shift 2
wanted=$("$nm" --undefined-only --format=posix "$core" 2>/dev/null | awk 'NF >= 2 { print $1 }' | sort -u)
own=$(for library; do "$nm" --defined-only --extern-only --format=posix "$library" 2>/dev/null; done | awk 'NF >= 2 { print $1 }' | sort -u)
foreign=$(printf '%s\n' "$wanted" | grep -vE '^(__asan|__ubsan|__tsan|__sanitizer|__sancov|__gcov|__start___sancov|__stop___sancov|__odr_asan|_GLOBAL_OFFSET_TABLE_|__stack_chk_fail|$)' |
	grep -vxF -e "$(printf '%s\n' "$own")" | grep -vxF -f "$allowed" || true)
[ -z "$foreign" ] && exit 0
for symbol in $foreign; do
	echo "$(basename "$core"): a core may not call $symbol: cores do no I/O, read no clock and do not log (cmake/core-symbols.txt)" >&2
done
rm -f "$core"
exit 1
