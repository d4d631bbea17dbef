#include "framework/io/manifest.h"

#include <fmt/format.h>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/io/sha256.h"
#include "framework/json/json.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

constexpr const char* kFormat = "quell network";
constexpr int kVersion = 1;

}  // namespace

void write_manifest(const fs::path& folder) {
  std::map<std::string, std::string> hashes;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name != kManifest) hashes[name] = sha256_of_file(entry.path());
  }
  const nlohmann::ordered_json root = {
      {"format", kFormat}, {"version", kVersion}, {"sha256", hashes}};
  write_file(folder / kManifest, root.dump(2) + "\n");
}

void check_manifest(const fs::path& folder) {
  const fs::path path = folder / kManifest;
  std::error_code error;
  if (!fs::exists(path, error)) {
    throw DataError(fmt::format(
        "{}: is missing: the folder is not a network that `quell export --format quell` wrote",
        path.string()));
  }
  std::map<std::string, std::string> hashes;
  read_own_json(path, [&](const nlohmann::ordered_json& root) {
    const auto format = root.at("format").get<std::string>();
    const int version = root.at("version").get<int>();
    if (format != kFormat || version != kVersion) {
      throw DataError(fmt::format(
          "{}: expected \"{}\" of version {}, found \"{}\" of version {}; export it again",
          path.string(), kFormat, kVersion, format, version));
    }
    root.at("sha256").get_to(hashes);
  });
  for (const auto& [name, hash] : hashes) {
    if (!is_plain_name(name)) {
      throw DataError(fmt::format("{}: \"{}\" is no name of a file", path.string(), name));
    }
    if (!fs::exists(folder / name, error)) {
      throw DataError(
          fmt::format("{}: is missing; copy the whole folder again", (folder / name).string()));
    }
    if (sha256_of_file(folder / name) == hash) continue;
    throw DataError(fmt::format(
        "{}: is not the file that was exported: its SHA-256 is another than {} says; copy the "
        "folder again, or export it again",
        (folder / name).string(), kManifest));
  }
}

}  // namespace quell
