#include "framework/text/json_view.h"

#include <fmt/format.h>

#include "framework/base/error.h"
#include "framework/json/json.h"

namespace quell {

using nlohmann::json;

JsonView JsonView::read(const std::filesystem::path& file) {
  return of(read_json_file(file), file);
}

JsonView JsonView::of(json content, const std::filesystem::path& file) {
  auto document = std::make_shared<const json>(std::move(content));
  const json* root = document.get();
  return JsonView(std::move(document), std::make_shared<const std::string>(file.string()), root,
                  "");
}

JsonView JsonView::child(const json& value, std::string step) const {
  return JsonView(document_, file_, &value, path_ + step);
}

std::string JsonView::place() const {
  return fmt::format("{}{}{}", *file_, path_.empty() ? "" : ": ", path_);
}

void JsonView::fail(const std::string& problem) const {
  throw DataError(fmt::format("{}: {}", place(), problem));
}

bool JsonView::contains(std::string_view key) const {
  if (!value_->is_object()) fail(fmt::format("expected an object, found {}", value_->type_name()));
  return value_->contains(key);
}

std::optional<JsonView> JsonView::find(std::string_view key) const {
  if (!contains(key)) return std::nullopt;
  const json& value = *value_->find(key);
  if (value.is_null()) return std::nullopt;
  return child(value, fmt::format("{}{}", path_.empty() ? "" : ".", key));
}

JsonView JsonView::at(std::string_view key) const {
  if (auto found = find(key)) return *found;
  fail(fmt::format("\"{}\" is missing", key));
}

JsonView JsonView::at(size_t index) const {
  return child((*value_)[index], fmt::format("[{}]", index));
}

size_t JsonView::size() const {
  if (!value_->is_array()) fail(fmt::format("expected a list, found {}", value_->type_name()));
  return value_->size();
}

std::string JsonView::as_string() const {
  if (!value_->is_string()) fail(fmt::format("expected a string, found {}", value_->type_name()));
  return value_->get<std::string>();
}

bool JsonView::as_bool() const {
  if (!value_->is_boolean()) {
    fail(fmt::format("expected true or false, found {}", value_->type_name()));
  }
  return value_->get<bool>();
}

int64_t JsonView::as_integer(int64_t least, int64_t most) const {
  const bool too_large =
      value_->is_number_unsigned() && value_->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
  if (!value_->is_number_integer() || too_large || value_->get<int64_t>() < least ||
      value_->get<int64_t>() > most) {
    fail(fmt::format("expected an integer from {} to {}, found {}", least, most,
                     value_->is_primitive() ? value_->dump() : value_->type_name()));
  }
  return value_->get<int64_t>();
}

bool JsonView::get_bool(std::string_view key, bool otherwise) const {
  const auto found = find(key);
  return found ? found->as_bool() : otherwise;
}

std::string JsonView::get_string(std::string_view key, const std::string& otherwise) const {
  const auto found = find(key);
  return found ? found->as_string() : otherwise;
}

}  // namespace quell
