// Reading whole files, and writing them so that a kill leaves either the old file or the new one.
#pragma once

#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "framework/base/input_file.h"

namespace quell {

inline constexpr size_t kLargestFile = size_t{4} << 30;  // bytes that are read as a whole

// Throws DataError naming the file when it is missing, unreadable, or anything but a file: a named
// pipe would wait for a writer.
InputFile open_file(const std::filesystem::path& path);

// The whole file as bytes. Throws DataError as above, and when it has more than `most` bytes.
std::string read_file(const std::filesystem::path& path, size_t most = kLargestFile);

// Whether a text names one folder or file that may be made anywhere: letters, digits and any of
// . _ = + -, but neither "." nor "..".
bool is_plain_name(std::string_view name);

// Copies the content, of any size, as write_atomically() does. Throws DataError or Error.
void copy_atomically(const std::filesystem::path& from, const std::filesystem::path& to);

// Calls `write` with a temporary path beside `path`, which nobody else uses, for it to make a file
// there, flushes that file to disk and renames it to `path`. Whatever fails, the temporary file is
// removed, `path` is untouched, and the error (Error or what `write` threw, with its exit code)
// names `path`. A device such as /dev/stdout is not replaced: `write` then gets `path` itself.
void write_atomically(const std::filesystem::path& path,
                      const std::function<void(const std::filesystem::path& temporary)>& write);

// Writes `content` atomically. Throws Error when the folder is not writable or the disk is full.
void write_file(const std::filesystem::path& path, std::string_view content);

// A new file (or a device) that is written piece by piece, for use inside write_atomically(), which
// turns the std::system_error of a failure into an Error with the way out.
class OutputFile {
 public:
  explicit OutputFile(const std::filesystem::path& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(const void* data, size_t size);
  void write(std::string_view text) { write(text.data(), text.size()); }
  // Must be called at the end: a full disk may show here only.
  void close();

 private:
  std::FILE* file_ = nullptr;
};

}  // namespace quell
