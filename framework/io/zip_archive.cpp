#include "framework/io/zip_archive.h"

#include <fmt/format.h>
#include <zip.h>

#include "framework/base/error.h"
#include "framework/base/input_file.h"
#include "framework/base/utf8.h"

namespace quell {
namespace {

std::string describe(int code) {
  zip_error_t error;
  zip_error_init_with_code(&error, code);
  const std::string text = zip_error_strerror(&error);
  zip_error_fini(&error);
  return text;
}

}  // namespace

ZipArchive::ZipArchive(const std::filesystem::path& path)
    : path_(path), file_size_(InputFile(path).size()), archive_(nullptr, &zip_discard) {
  int code = 0;
  archive_.reset(zip_open(path.c_str(), ZIP_RDONLY, &code));
  if (!archive_) {
    throw DataError(fmt::format("{}: not a readable zip file, truncated or damaged: {}",
                                path.string(), describe(code)));
  }
}

void ZipArchive::fail(const std::string& name, const std::string& message) const {
  throw DataError(fmt::format("{}: record \"{}\": {}", path_.string(), shown(name), message));
}

std::vector<std::string> ZipArchive::names() const {
  std::vector<std::string> result;
  const zip_int64_t count = zip_get_num_entries(archive_.get(), 0);
  for (zip_int64_t i = 0; i < count; ++i) {
    const char* name = zip_get_name(archive_.get(), static_cast<zip_uint64_t>(i), ZIP_FL_ENC_RAW);
    if (name != nullptr) result.emplace_back(name);
  }
  return result;
}

bool ZipArchive::contains(const std::string& name) const {
  return zip_name_locate(archive_.get(), name.c_str(), ZIP_FL_ENC_RAW) >= 0;
}

size_t ZipArchive::size(const std::string& name) const {
  zip_stat_t status;
  zip_stat_init(&status);
  constexpr zip_uint64_t kNeeded = ZIP_STAT_SIZE | ZIP_STAT_COMP_METHOD;
  if (zip_stat(archive_.get(), name.c_str(), ZIP_FL_ENC_RAW, &status) != 0 ||
      (status.valid & kNeeded) != kNeeded) {
    fail(name, "missing or damaged");
  }
  const bool encrypted =
      (status.valid & ZIP_STAT_ENCRYPTION_METHOD) != 0 && status.encryption_method != ZIP_EM_NONE;
  if (status.comp_method != ZIP_CM_STORE || encrypted) {
    fail(name, "compressed or encrypted, as torch.save never writes it; save the file again");
  }
  if (status.size > file_size_) fail(name, "larger than the file; the file is damaged");
  return status.size;
}

void ZipArchive::read(const std::string& name, size_t size, void* destination) const {
  const std::unique_ptr<zip_file_t, int (*)(zip_file_t*)> file(
      zip_fopen(archive_.get(), name.c_str(), ZIP_FL_ENC_RAW), &zip_fclose);
  if (!file) fail(name, zip_error_strerror(zip_get_error(archive_.get())));
  char* next = static_cast<char*>(destination);
  while (size > 0) {
    const zip_int64_t count = zip_fread(file.get(), next, size);
    if (count <= 0) fail(name, "truncated or damaged: its end or its checksum is not as recorded");
    next += count;
    size -= static_cast<size_t>(count);
  }
  // The checksum is compared when the end is reached.
  char beyond;
  if (zip_fread(file.get(), &beyond, 1) != 0) {
    fail(name, fmt::format("damaged: {}", zip_error_strerror(zip_file_get_error(file.get()))));
  }
}

}  // namespace quell
