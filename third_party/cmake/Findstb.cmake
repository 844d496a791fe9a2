# stb_image and its relatives, which Debian ships (libstb-dev) without a CMake package.
# Provides stb::image for reading (stb_image.h) and writing (stb_image_write.h).
find_path(STB_INCLUDE_DIR stb_image.h PATH_SUFFIXES stb)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(stb REQUIRED_VARS STB_INCLUDE_DIR)
if(stb_FOUND AND NOT TARGET stb::image)
  add_library(stb::image INTERFACE IMPORTED)
  set_target_properties(stb::image PROPERTIES INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${STB_INCLUDE_DIR}"
                                              INTERFACE_INCLUDE_DIRECTORIES "${STB_INCLUDE_DIR}")
endif()
