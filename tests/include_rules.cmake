# Fails if a room includes from a room it may not know (architecture: engine <- nn <- kd <- apps,
# engine <- data <- apps), or a kernel hides its launch bounds. Run by ctest, or:
# cmake -P tests/include_rules.cmake
cmake_minimum_required(VERSION 3.24)
set(rooms engine nn data kd apps tests)
set(may_include_engine engine)
set(may_include_nn     engine nn)
set(may_include_data   engine data)
set(may_include_kd     engine nn kd)
set(may_include_apps   engine nn data kd apps)
set(may_include_tests  ${rooms})

# Inside the engine: core <- {cpu, cuda} <- autograd <- ops <- {check, inference}, and io on core
# alone.
set(parts core cpu cuda autograd ops check inference io)
set(may_include_core     core)
set(may_include_cpu      core cpu)
set(may_include_cuda     core cuda)
set(may_include_autograd core autograd)
set(may_include_ops      core cpu cuda autograd ops)
set(may_include_check    core cpu cuda autograd ops check)
set(may_include_inference core cpu autograd ops inference)
set(may_include_io       core io)

get_filename_component(root ${CMAKE_CURRENT_LIST_DIR} DIRECTORY)

# Checks the sources of one folder: the first path element after `prefix` must be allowed.
function(check_folder folder prefix all allowed)
  file(GLOB_RECURSE sources ${root}/${folder}/*.h ${root}/${folder}/*.cpp ${root}/${folder}/*.cu
       ${root}/${folder}/*.cuh)
  foreach(source IN LISTS sources)
    file(STRINGS ${source} includes REGEX "^#include \"${prefix}")
    foreach(line IN LISTS includes)
      string(REGEX REPLACE "^#include \"${prefix}([^/\"]+)/.*" "\\1" target "${line}")
      if(target IN_LIST all AND NOT target IN_LIST allowed)
        message(SEND_ERROR "${source}: ${folder} may not include ${prefix}${target}: ${line}")
      endif()
    endforeach()
  endforeach()
endfunction()

foreach(room IN LISTS rooms)
  check_folder(${room} "" "${rooms}" "${may_include_${room}}")
endforeach()
foreach(part IN LISTS parts)
  check_folder(engine/${part} "engine/" "${parts}" "${may_include_${part}}")
endforeach()

# The emulated device sees a kernel's launch bounds only where its body says them again.
file(GLOB_RECURSE kernels ${root}/engine/*.cu ${root}/tests/*.cu)
foreach(source IN LISTS kernels)
  file(STRINGS ${source} bounds REGEX "__launch_bounds__")
  file(STRINGS ${source} said REGEX "MOST_THREADS")
  list(LENGTH bounds declared)
  list(LENGTH said repeated)
  if(NOT declared EQUAL repeated)
    message(SEND_ERROR "${source}: ${declared} kernels with __launch_bounds__, ${repeated} with MOST_THREADS")
  endif()
endforeach()
