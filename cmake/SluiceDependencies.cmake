# Every library that Sluice stands on, found by pkg-config or, where a library has no .pc file, by its header.
# A missing one is reported with the Debian package that brings it; all missing ones at once.

find_package(PkgConfig REQUIRED)
set(SLUICE_MISSING "")

function(sluice_require_pkg target module package)
  pkg_check_modules(${target} IMPORTED_TARGET QUIET ${module})
  if(NOT ${target}_FOUND)
    list(APPEND SLUICE_MISSING "${module} (Debian package ${package})")
    set(SLUICE_MISSING "${SLUICE_MISSING}" PARENT_SCOPE)
  endif()
endfunction()

sluice_require_pkg(EVENT "libevent_core>=2.1" libevent-dev)
sluice_require_pkg(CURL "libcurl>=7.88" libcurl4-openssl-dev)
sluice_require_pkg(JANSSON "jansson>=2.13" libjansson-dev)
sluice_require_pkg(HIREDIS "hiredis>=0.14" libhiredis-dev)
sluice_require_pkg(CRYPTO "libcrypto>=3.0" libssl-dev)
sluice_require_pkg(LMDB "lmdb>=0.9.24" liblmdb-dev)

find_path(FCGI_INCLUDE_DIR fcgiapp.h)
find_library(FCGI_LIBRARY fcgi)
if(NOT FCGI_INCLUDE_DIR OR NOT FCGI_LIBRARY)
  list(APPEND SLUICE_MISSING "libfcgi (Debian package libfcgi-dev)")
endif()

# A sanitizer brings an allocator of its own.
if(NOT SLUICE_SANITIZE)
  find_path(MIMALLOC_INCLUDE_DIR mimalloc.h)
  find_library(MIMALLOC_LIBRARY mimalloc)
  if(NOT MIMALLOC_INCLUDE_DIR OR NOT MIMALLOC_LIBRARY)
    list(APPEND SLUICE_MISSING "mimalloc (Debian package libmimalloc-dev)")
  endif()
endif()

if(SLUICE_MISSING)
  list(JOIN SLUICE_MISSING "\n  " lines)
  message(FATAL_ERROR "Missing libraries:\n  ${lines}\nscripts/install-deps installs them on Debian 12.")
endif()

add_library(fcgi_external INTERFACE)
target_include_directories(fcgi_external SYSTEM INTERFACE "${FCGI_INCLUDE_DIR}")
target_link_libraries(fcgi_external INTERFACE "${FCGI_LIBRARY}")

set(SLUICE_HEAP heap_libc.c)
add_library(heap_external INTERFACE)
if(NOT SLUICE_SANITIZE)
  set(SLUICE_HEAP heap_mimalloc.c)
  target_include_directories(heap_external SYSTEM INTERFACE "${MIMALLOC_INCLUDE_DIR}")
  target_link_libraries(heap_external INTERFACE "${MIMALLOC_LIBRARY}")
endif()
