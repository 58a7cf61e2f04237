#!/bin/sh
# A core that reaches for a socket does not link: builds one with the project's own functions, and sees it fail; then one
# that does not, and sees it succeed.  core-purity.sh SOURCE-FOLDER
set -eu
source=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cat >"$scratch/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.25)
project(waybill VERSION 0 LANGUAGES C)
set(PROJECT_SOURCE_DIR $source)
include($source/cmake/waybill.cmake)
waybill_core(core SOURCES core.c)
add_executable(program main.c)
target_link_libraries(program core)
END
echo 'int answer(void); int main(void) { return answer(); }' >"$scratch/main.c"

build() { cmake -G Ninja -S "$scratch" -B "$scratch/build" >/dev/null && cmake --build "$scratch/build" >"$scratch/log" 2>&1; }

printf '#include <sys/socket.h>\nint answer(void);\nint answer(void)\n{\n\treturn socket(AF_INET, SOCK_STREAM, 0);\n}\n' >"$scratch/core.c"
if build; then
	echo "a core that calls socket() linked"
	exit 1
fi
grep -q 'a core may not call socket' "$scratch/log" || { cat "$scratch/log"; exit 1; }
[ ! -e "$scratch/build/program" ]

printf '#include <string.h>\nint answer(void);\nint answer(void)\n{\n\treturn (int)strlen("pure");\n}\n' >"$scratch/core.c"
build || { cat "$scratch/log"; exit 1; }
[ -x "$scratch/build/program" ]
echo "cores stay pure"
