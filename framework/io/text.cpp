#include "framework/io/text.h"

#include <fmt/format.h>
#include <unicode/ucnv.h>
#include <algorithm>
#include <array>
#include <string_view>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/base/utf8.h"
#include "framework/json/json.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr const char* kWayOut =
    "name what the file is written in with `task.encoding` (latin-1, windows-1252, ...), or "
    "convert "
    "it: iconv -f latin1 -t utf-8";

// "file:line:column" of a byte.
std::string place_of(const fs::path& path, std::string_view content, size_t position) {
  const std::string_view before = content.substr(0, position);
  return fmt::format("{}:{}:{}", path.string(), 1 + std::count(before.begin(), before.end(), '\n'),
                     before.size() - (before.rfind('\n') + 1) + 1);  // npos + 1 is 0
}

// A converter of ICU; it stops where it would replace something.
class Converter {
 public:
  explicit Converter(const std::string& name) {
    converter_ = ucnv_open(name.c_str(), &status_);
    if (U_FAILURE(status_)) return;
    ucnv_setToUCallBack(converter_, UCNV_TO_U_CALLBACK_STOP, nullptr, nullptr, nullptr, &status_);
  }
  ~Converter() { ucnv_close(converter_); }
  Converter(const Converter&) = delete;
  Converter& operator=(const Converter&) = delete;

  bool is_open() const { return U_SUCCESS(status_); }
  UConverter* get() const { return converter_; }

 private:
  UErrorCode status_ = U_ZERO_ERROR;
  UConverter* converter_ = nullptr;
};

std::string convert(const fs::path& path, std::string_view content, const std::string& encoding) {
  const Converter source(encoding);
  const Converter utf8("UTF-8");
  const char* next = content.data();
  std::array<UChar, 4096> pivot;
  UChar *pivot_begin = pivot.data(), *pivot_end = pivot.data();
  std::array<char, 4096> buffer;
  std::string result;
  for (bool first = true;; first = false) {
    UErrorCode status = U_ZERO_ERROR;
    char* target = buffer.data();
    ucnv_convertEx(utf8.get(), source.get(), &target, buffer.data() + buffer.size(), &next,
                   content.data() + content.size(), pivot.data(), &pivot_begin, &pivot_end,
                   pivot.data() + pivot.size(), first, /*flush=*/true, &status);
    result.append(buffer.data(), target);
    if (status == U_BUFFER_OVERFLOW_ERROR) continue;
    if (U_SUCCESS(status)) return result;
    const auto reached = static_cast<size_t>(next - content.data());
    throw DataError(fmt::format("{}: the bytes before this place are not {}; {}",
                                place_of(path, content, reached), encoding, kWayOut));
  }
}

bool is_utf8(std::string encoding) {
  std::erase_if(encoding, [](char c) { return c == '-' || c == '_' || c == ' '; });
  std::transform(encoding.begin(), encoding.end(), encoding.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return encoding.empty() || encoding == "utf8" || encoding == "utf8sig";
}

void check_utf8(const fs::path& path, std::string_view content) {
  if (content.starts_with("\xFF\xFE") || content.starts_with("\xFE\xFF")) {
    throw DataError(fmt::format(
        "{}: is UTF-16 text, expected UTF-8; convert it with iconv, or say `task.encoding`: utf-16",
        path.string()));
  }
  const size_t position = find_invalid_utf8(content);
  if (position == std::string_view::npos) return;
  throw DataError(fmt::format("{}: the byte 0x{:02X} is not UTF-8; {}",
                              place_of(path, content, position),
                              static_cast<unsigned char>(content[position]), kWayOut));
}

}  // namespace

std::string read_text(const fs::path& path, const std::string& encoding) {
  std::string content = read_file(path);
  if (is_utf8(encoding)) {
    check_utf8(path, content);
  } else {
    if (!knows_encoding(encoding))
      throw ConfigError(fmt::format("unknown encoding \"{}\"", encoding));
    content = convert(path, content, encoding);
  }
  if (content.starts_with(kByteOrderMark)) content.erase(0, kByteOrderMark.size());
  return content;
}

bool knows_encoding(const std::string& encoding) {
  return is_utf8(encoding) || Converter(encoding).is_open();
}

}  // namespace quell
