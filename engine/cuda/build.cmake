# What DECANT_CUDA=OFF|ON|EMULATED means for the build: included by the top-level CMakeLists.txt.
if(NOT DECANT_CUDA MATCHES "^(OFF|ON|EMULATED)$")
  message(FATAL_ERROR "DECANT_CUDA: expected OFF, ON or EMULATED, got ${DECANT_CUDA}")
endif()

if(DECANT_CUDA STREQUAL "ON")
  # Machine code for A100 and H100, and PTX that later cards compile for themselves. Not `native`,
  # which asks for a card at configuration.
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real 90-virtual CACHE STRING "What nvcc compiles for")
  enable_language(CUDA)
  find_package(CUDAToolkit 12.0 REQUIRED)
endif()

# decant_cuda_options(TARGET): what every source sees.
function(decant_cuda_options target)
  if(DECANT_CUDA STREQUAL "OFF")
    return()
  endif()
  target_compile_definitions(${target} INTERFACE DECANT_WITH_CUDA)
  if(DECANT_CUDA STREQUAL "ON")
    # By hand: CMake 3.25 knows no CUDA_STANDARD 20.
    target_compile_options(${target} INTERFACE
        $<$<COMPILE_LANGUAGE:CUDA>:-std=c++20 --expt-relaxed-constexpr -Xcompiler=-Wall>)
    target_link_libraries(${target} INTERFACE CUDA::cudart CUDA::cublasLt)
  else()
    # Brings <cuda_runtime.h>: a folder that nvcc must never see.
    target_compile_definitions(${target} INTERFACE DECANT_EMULATED)
    target_include_directories(${target} INTERFACE ${PROJECT_SOURCE_DIR}/engine/cuda/emulated)
  endif()
endfunction()

# decant_cuda_sources(LIST): adds the .cu files of the current folder and below to a list of
# sources, and removes what this build has no use for.
function(decant_cuda_sources list)
  set(sources ${${list}})
  if(DECANT_CUDA STREQUAL "OFF")
    list(FILTER sources EXCLUDE REGEX "/cuda/")
  else()
    file(GLOB_RECURSE kernels CONFIGURE_DEPENDS *.cu)
    list(APPEND sources ${kernels})
    if(DECANT_CUDA STREQUAL "ON")
      list(FILTER sources EXCLUDE REGEX "/cuda/emulated/")
    else()
      list(FILTER sources EXCLUDE REGEX "/cuda/[a-z_]*_on_card\\.cpp$")  # emulated/ has its own
      set_source_files_properties(${kernels} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS -Wno-unknown-pragmas)
    endif()
  endif()
  set(${list} ${sources} PARENT_SCOPE)
endfunction()
