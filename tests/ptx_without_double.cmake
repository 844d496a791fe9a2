# Fails where a kernel computes in float64, which cards for training do at a fraction of their rate:
# a 0.5 where 0.5F was meant. Run by ctest in builds with nvcc, or:
#   cmake -DNVCC=nvcc -DKERNEL=engine/ops/pool.cu -P tests/ptx_without_double.cmake
get_filename_component(root ${CMAKE_CURRENT_LIST_DIR} DIRECTORY)
execute_process(
  COMMAND ${NVCC} -ptx -std=c++20 --expt-relaxed-constexpr -DDECANT_WITH_CUDA -I${root}
          -gencode arch=compute_80,code=compute_80 -o - ${root}/${KERNEL}
  OUTPUT_VARIABLE ptx ERROR_VARIABLE errors RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "${KERNEL}: nvcc failed: ${errors}")
endif()
string(REGEX MATCH "[^\n]*\\.f64[^\n]*" double "${ptx}")
if(double)
  message(FATAL_ERROR "${KERNEL}: computes in float64: ${double}")
endif()
