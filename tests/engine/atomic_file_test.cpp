#include "engine/io/atomic_file.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "engine/core/error.h"

using namespace decant;
namespace fs = std::filesystem;

TEST_CASE("a file appears whole behind a link, and a pipe stays a pipe") {
  const fs::path folder = fs::temp_directory_path() / str("decant_files_", ::getpid());
  fs::create_directories(folder);
  const fs::path file = folder / "file";
  const fs::path link = folder / "link";
  const fs::path pipe = folder / "pipe";
  write_file_atomically(file, "old");
  fs::create_symlink("file", link);
  write_file_atomically(link, "new");
  CHECK(fs::is_symlink(link));
  CHECK(fs::file_size(file) == 3);
  std::ifstream in(file);
  CHECK(std::string(std::istreambuf_iterator<char>(in), {}) == "new");

  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  const int reader = ::open(pipe.c_str(), O_RDONLY | O_NONBLOCK);
  write_file_atomically(pipe, "through");
  CHECK(fs::is_fifo(pipe));
  char bytes[16] = {};
  CHECK(::read(reader, bytes, sizeof bytes) == 7);
  CHECK(std::string(bytes) == "through");
  ::close(reader);
  fs::remove_all(folder);
}
