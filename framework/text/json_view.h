// A JSON value that knows its file and its place there, so that errors can name both.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace quell {

// The view keeps the whole document alive.
class JsonView {
 public:
  // Throws DataError as read_json_file().
  static JsonView read(const std::filesystem::path& file);
  // Of a document that stands for what a file says.
  static JsonView of(nlohmann::json document, const std::filesystem::path& file);

  const nlohmann::json& value() const { return *value_; }

  // The member, or nothing when it is absent or null. Throws DataError when this is no object.
  std::optional<JsonView> find(std::string_view key) const;
  bool contains(std::string_view key) const;  // also when null
  JsonView at(std::string_view key) const;    // DataError when absent or null
  JsonView at(size_t index) const;            // of an array, which has `size()` elements
  size_t size() const;                        // of an array; DataError when it is none

  // DataError when the value has another type, or is no integer from `least` to `most`.
  std::string as_string() const;
  bool as_bool() const;
  int64_t as_integer(int64_t least, int64_t most) const;

  bool get_bool(std::string_view key, bool otherwise) const;
  std::string get_string(std::string_view key, const std::string& otherwise) const;

  // "<file>: <path>".
  std::string place() const;
  bool is_root() const { return path_.empty(); }
  // Throws DataError: "<file>: <path>: <problem>".
  [[noreturn]] void fail(const std::string& problem) const;

 private:
  JsonView(std::shared_ptr<const nlohmann::json> document, std::shared_ptr<const std::string> file,
           const nlohmann::json* value, std::string path)
      : document_(std::move(document)),
        file_(std::move(file)),
        value_(value),
        path_(std::move(path)) {}
  JsonView child(const nlohmann::json& value, std::string step) const;

  std::shared_ptr<const nlohmann::json> document_;
  std::shared_ptr<const std::string> file_;
  const nlohmann::json* value_;
  std::string path_;
};

}  // namespace quell
