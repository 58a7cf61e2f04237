# The project's kinds of targets. Their names carry the design: a core is pure, a shell meets one library.

option(WAYBILL_FUZZ "build the libFuzzer targets (preset fuzz)" OFF)

set(WAYBILL_WARNINGS -Wall -Wextra -Wformat=2 -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
    -Wcast-qual -Wwrite-strings -Wvla -Wundef)

function(waybill_compile target)
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR})
  target_compile_definitions(${target} PRIVATE _GNU_SOURCE WAYBILL_VERSION="${PROJECT_VERSION}")
  target_compile_options(${target} PRIVATE ${WAYBILL_WARNINGS})
endfunction()

# waybill_core(NAME SOURCES file… [CORES core…])
# A library without I/O, clock or logging. Its object code may call only the libc functions named in
# core-symbols.txt; a call of any other one (socket, open, time, …) removes the library, so nothing links.
function(waybill_core name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;CORES")
  add_library(${name} STATIC ${arg_SOURCES})
  target_link_libraries(${name} PUBLIC ${arg_CORES})
  waybill_compile(${name})
  set(cores $<TARGET_FILE:${name}>)
  foreach(core IN LISTS arg_CORES)
    list(APPEND cores $<TARGET_FILE:${core}>)
  endforeach()
  add_custom_command(TARGET ${name} POST_BUILD VERBATIM
    COMMAND ${PROJECT_SOURCE_DIR}/cmake/core-symbols.sh ${CMAKE_NM} ${PROJECT_SOURCE_DIR}/cmake/core-symbols.txt ${cores})
endfunction()

# waybill_shell(NAME SOURCES file… [USES target…] [PKG pkg-config-module…])
# A library that meets one third-party library or one kind of socket.
function(waybill_shell name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;USES;PKG")
  add_library(${name} STATIC ${arg_SOURCES})
  waybill_compile(${name})
  target_link_libraries(${name} PUBLIC ${arg_USES})
  foreach(module IN LISTS arg_PKG)
    string(MAKE_C_IDENTIFIER ${module} id)
    if(NOT TARGET PkgConfig::${id})
      pkg_check_modules(${id} REQUIRED IMPORTED_TARGET GLOBAL ${module})
    endif()
    target_link_libraries(${name} PUBLIC PkgConfig::${id})
  endforeach()
endfunction()

# waybill_program(NAME SOURCES file… [USES target…])      lands in build/<preset>/bin/NAME
function(waybill_program name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;USES")
  add_executable(${name} ${arg_SOURCES})
  waybill_compile(${name})
  target_link_libraries(${name} PRIVATE ${arg_USES})
  install(TARGETS ${name} DESTINATION ${CMAKE_INSTALL_SBINDIR})
endfunction()

# waybill_unit_test(NAME SOURCES file… [USES target…] [WITH command…])    a cmocka program, CTest label "unit"
# It runs in the project's folder, behind the words of WITH (tests/unit/with-postgres); exit status 77 is a skip.
function(waybill_unit_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;USES;WITH")
  if(WAYBILL_FUZZ)
    return()
  endif()
  add_executable(${name} ${arg_SOURCES})
  waybill_compile(${name})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_link_libraries(${name} PRIVATE ${arg_USES} cmocka)
  add_test(NAME ${name} COMMAND ${arg_WITH} $<TARGET_FILE:${name}> WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS unit TIMEOUT 120 SKIP_RETURN_CODE 77)
endfunction()

# waybill_fuzz(NAME SOURCES file… [USES target…] SEEDS folder)     built by preset fuzz: build/fuzz/bin/fuzz_NAME
# There the test "fuzz_NAME" (ctest --preset fuzz) tries a bounded number of inputs that grow out of the seeds, the same in every
# clean tree so that a change is judged by itself (a hunt takes another -seed and longer), and keeps what
# it found in build/fuzz/corpus. In every other preset the entry point runs once over each seed, as the unit test "seeds_NAME".
function(waybill_fuzz name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "SEEDS" "SOURCES;USES")
  if(WAYBILL_FUZZ)
    add_executable(fuzz_${name} ${arg_SOURCES})
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/corpus/${name})
    add_test(NAME fuzz_${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
      COMMAND fuzz_${name} -seed=1 -runs=100000 -max_total_time=20 -timeout=5 -rss_limit_mb=1024 -verbosity=0
              -artifact_prefix=${CMAKE_BINARY_DIR}/corpus/${name}- ${CMAKE_BINARY_DIR}/corpus/${name} ${arg_SEEDS})
    set_tests_properties(fuzz_${name} PROPERTIES LABELS fuzz TIMEOUT 120)
  else()
    add_executable(fuzz_${name} ${arg_SOURCES} ${PROJECT_SOURCE_DIR}/tests/fuzz/replay.c)
    set_target_properties(fuzz_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    add_test(NAME seeds_${name} COMMAND fuzz_${name} ${arg_SEEDS} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set_tests_properties(seeds_${name} PROPERTIES LABELS unit TIMEOUT 120)
  endif()
  waybill_compile(fuzz_${name})
  target_link_libraries(fuzz_${name} PRIVATE ${arg_USES})
endfunction()
