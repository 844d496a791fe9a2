# The libraries' headers from the folder DECANT_BUNDLED that third_party/bundle.sh made, by the
# names that find_package gives them.
get_filename_component(bundled "${DECANT_BUNDLED}" ABSOLUTE BASE_DIR "${PROJECT_SOURCE_DIR}")
function(decant_bundled target folder header)
  if(NOT EXISTS "${folder}/${header}")
    message(FATAL_ERROR "DECANT_BUNDLED: expected ${folder}/${header}, got none; third_party/bundle.sh puts it there")
  endif()
  add_library(${target} INTERFACE IMPORTED)
  set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${folder}"
                                             INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${folder}")
endfunction()

decant_bundled(nlohmann_json::nlohmann_json "${bundled}" nlohmann/json.hpp)
decant_bundled(CLI11::CLI11 "${bundled}" CLI/CLI.hpp)
decant_bundled(doctest::doctest "${bundled}" doctest/doctest.h)
decant_bundled(stb::image "${bundled}/stb" stb_image.h)
