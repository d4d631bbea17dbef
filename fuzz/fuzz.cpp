#include "fuzz/fuzz.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

#include "framework/base/error.h"
#include "framework/base/utf8.h"
#include "framework/json/json.h"

namespace quell::fuzz {
namespace {

namespace fs = std::filesystem;

// A folder of this process, gone when it ends.
class Folder {
 public:
  Folder() {
    std::string name =
        std::string(fs::exists("/dev/shm") ? "/dev/shm" : "/tmp") + "/quell_fuzz_XXXXXX";
    if (!::mkdtemp(name.data())) throw std::runtime_error("mkdtemp failed");
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

const fs::path& empty_folder() {
  static const Folder folder;
  for (const auto& entry : fs::directory_iterator(folder.path())) fs::remove(entry.path());
  return folder.path();
}

void write(const fs::path& file, std::string_view bytes) {
  std::ofstream stream(file, std::ios::binary);
  stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!stream.flush()) throw std::runtime_error("cannot write " + file.string());
}

}  // namespace

void run(Target target, std::string_view input) {
  try {
    target(input);
  } catch (const Error& error) {
    const std::string message = error.what();
    if (find_invalid_utf8(message) != std::string::npos || message.size() > 5000) {
      std::fprintf(stderr, "a message that cannot be shown: %s\n", message.c_str());
      std::abort();
    }
  }
}

fs::path as_file(std::string_view input, const std::string& name) {
  const fs::path file = empty_folder() / name;
  write(file, input);
  return file;
}

fs::path as_folder(std::string_view input, const std::vector<std::string>& names) {
  const fs::path& folder = empty_folder();
  for (const std::string& name : names) {
    const size_t end = input.find('\0');
    write(folder / name, input.substr(0, end));
    if (end == std::string_view::npos) break;
    input.remove_prefix(end + 1);
  }
  return folder;
}

}  // namespace quell::fuzz
