#include "tasks/data/token_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <charconv>

#include "framework/base/error.h"
#include "framework/base/suggest.h"

namespace quell {
namespace {

constexpr std::string_view kIds = "input_ids";
constexpr int64_t kLargestRange = 1'000'000;

using Matrix = std::vector<std::vector<int64_t>>;

const std::vector<std::string> kWords = {
    "attention_mask",  "lens",         "token_type_ids",    "position_ids",
    "labels",          "decoder_lens", "decoder_input_ids", "decoder_attention_mask",
    "start_positions", "end_positions"};

// Whether a network might be meant to read it: a misspelt word, or an input that is not supported.
bool looks_like_input(const std::string& word) {
  constexpr const char* kParts[] = {"mask",   "ids",   "position", "label",
                                    "length", "embed", "past_key"};
  if (word.find("logits") != std::string::npos) return false;
  return closest_match(word, kWords) ||
         std::any_of(std::begin(kParts), std::end(kParts),
                     [&](auto part) { return word.find(part) != std::string::npos; });
}

// Reads one group and says which tensor is wrong.
class GroupReader {
 public:
  GroupReader(const SafetensorsFile& file, const std::string& ids_key, const TokenLimits& limits)
      : file_(file), ids_key_(ids_key), limits_(limits) {}

  TokenGroup read(const std::string& labels_key) const;

 private:
  [[noreturn]] void fail(const std::string& key, const std::string& message) const {
    throw DataError(fmt::format("{}: tensor \"{}\": {}", file_.path().string(), key, message));
  }
  std::string sibling(const std::string& word) const;
  // Integers [rows, columns]; a size of -1 is free.
  Matrix integers(const std::string& key, int64_t rows, int64_t columns) const;
  std::vector<int64_t> integer_list(const std::string& key, int64_t size) const;
  std::vector<int64_t> lengths(const std::string& ids_key, const Matrix& ids,
                               const std::string& mask_key, const std::string& lengths_key) const;
  std::vector<TokenSequence> sequences(const std::string& ids_key, const std::string& mask_key,
                                       const std::string& lengths_key) const;
  void check_ids(const std::string& key, const Matrix& ids) const;
  void read_labels(const std::string& key, TokenGroup& group) const;
  void read_positions(const std::string& key, TokenGroup& group) const;
  // The words of other tensors beside the ids.
  std::vector<std::string> unread_words(const std::string& labels_key) const;

  const SafetensorsFile& file_;
  const std::string& ids_key_;
  const TokenLimits& limits_;
};

std::string GroupReader::sibling(const std::string& word) const {
  const size_t position = ids_key_.rfind(kIds);
  QUELL_ASSERT(position != std::string::npos, "the key names input_ids");
  return ids_key_.substr(0, position) + word + ids_key_.substr(position + kIds.size());
}

Matrix GroupReader::integers(const std::string& key, int64_t rows, int64_t columns) const {
  const at::Tensor tensor = file_.read(key);
  if (!at::isIntegralType(tensor.scalar_type(), /*includeBool=*/true)) {
    fail(key, fmt::format("holds {}, expected integers", toString(tensor.scalar_type())));
  }
  const bool fits = tensor.dim() == 2 && tensor.numel() > 0 &&
                    (rows < 0 || tensor.size(0) == rows) &&
                    (columns < 0 || tensor.size(1) == columns);
  if (!fits) {
    const std::string expected = rows < 0 ? "sequences" : std::to_string(rows);
    fail(key, fmt::format("shape [{}], expected [{}, {}]", fmt::join(tensor.sizes().vec(), ", "),
                          expected, columns < 0 ? "positions" : std::to_string(columns)));
  }
  const at::Tensor values = tensor.to(at::kLong).contiguous();
  const int64_t* data = values.const_data_ptr<int64_t>();
  Matrix matrix(values.size(0));
  for (int64_t row = 0; row < values.size(0); ++row) {
    matrix[row].assign(data + row * values.size(1), data + (row + 1) * values.size(1));
  }
  return matrix;
}

std::vector<int64_t> GroupReader::integer_list(const std::string& key, int64_t size) const {
  const auto& shape = file_.shape(key);
  if (shape.size() != 1 || shape[0] != size) {
    fail(key, fmt::format("shape [{}], expected [{}]", fmt::join(shape, ", "), size));
  }
  const at::Tensor tensor = file_.read(key);
  if (!at::isIntegralType(tensor.scalar_type(), /*includeBool=*/false)) {
    fail(key, fmt::format("holds {}, expected integers", toString(tensor.scalar_type())));
  }
  const at::Tensor values = tensor.to(at::kLong).contiguous();
  return {values.const_data_ptr<int64_t>(), values.const_data_ptr<int64_t>() + size};
}

std::vector<int64_t> GroupReader::lengths(const std::string& ids_key, const Matrix& ids,
                                          const std::string& mask_key,
                                          const std::string& lengths_key) const {
  const auto rows = static_cast<int64_t>(ids.size());
  const auto columns = static_cast<int64_t>(ids.front().size());
  std::vector<int64_t> result(rows, columns);
  if (file_.contains(mask_key)) {
    const Matrix mask = integers(mask_key, rows, columns);
    for (int64_t row = 0; row < rows; ++row) {
      result[row] = std::find(mask[row].begin(), mask[row].end(), 0) - mask[row].begin();
      const bool right_padded = std::all_of(mask[row].begin() + result[row], mask[row].end(),
                                            [](int64_t value) { return value == 0; });
      if (result[row] == 0 || !right_padded) {
        fail(mask_key, fmt::format("row {}: expected real tokens first and padding after them; "
                                   "other masks are not supported",
                                   row));
      }
    }
  } else if (file_.contains(lengths_key)) {
    result = integer_list(lengths_key, rows);
    for (int64_t row = 0; row < rows; ++row) {
      if (result[row] >= 1 && result[row] <= columns) continue;
      fail(lengths_key,
           fmt::format("row {}: length {}, expected 1 to {}", row, result[row], columns));
    }
  } else if (limits_.mask_from_padding) {
    for (int64_t row = 0; row < rows; ++row) {
      while (result[row] > 0 && ids[row][result[row] - 1] == limits_.pad_id) --result[row];
      if (result[row] == 0) fail(ids_key, fmt::format("row {}: only padding", row));
    }
  }
  return result;
}

void GroupReader::check_ids(const std::string& key, const Matrix& ids) const {
  for (size_t row = 0; row < ids.size(); ++row) {
    for (size_t column = 0; column < ids[row].size(); ++column) {
      const int64_t id = ids[row][column];
      if (id >= 0 && id < limits_.vocabulary_size) continue;
      fail(key, fmt::format("token id {} at [{}, {}], but the model embeds only 0 to {}", id, row,
                            column, limits_.vocabulary_size - 1));
    }
  }
}

std::vector<TokenSequence> GroupReader::sequences(const std::string& ids_key,
                                                  const std::string& mask_key,
                                                  const std::string& lengths_key) const {
  Matrix ids = integers(ids_key, -1, -1);
  check_ids(ids_key, ids);
  const std::vector<int64_t> valid = lengths(ids_key, ids, mask_key, lengths_key);
  std::vector<TokenSequence> result;
  for (size_t row = 0; row < ids.size(); ++row) {
    if (valid[row] > limits_.max_positions) {
      fail(ids_key, fmt::format("row {}: {} tokens, but the model takes at most {}", row,
                                valid[row], limits_.max_positions));
    }
    result.push_back({std::move(ids[row]), {}, valid[row]});
  }
  return result;
}

void GroupReader::read_labels(const std::string& key, TokenGroup& group) const {
  const auto rows = static_cast<int64_t>(group.sequences.size());
  const auto& shape = file_.shape(key);
  if (shape.size() != 1 || shape[0] != rows) {
    fail(key, fmt::format("shape [{}], expected [{}]: one label per sequence",
                          fmt::join(shape, ", "), rows));
  }
  const at::Tensor labels = file_.read(key);
  group.labels_are_scores = at::isFloatingType(labels.scalar_type());
  const at::Tensor values = labels.to(at::kDouble).contiguous();
  const double* data = values.const_data_ptr<double>();
  group.labels.assign(data, data + rows);
}

void GroupReader::read_positions(const std::string& key, TokenGroup& group) const {
  if (!limits_.takes_positions) {
    fail(key,
         "this model counts positions itself, from the beginning of each sequence; leave the "
         "tensor out if that is meant");
  }
  const auto rows = static_cast<int64_t>(group.sequences.size());
  const bool shared = file_.shape(key).size() == 2 && file_.shape(key)[0] == 1;  // by all rows
  Matrix positions = integers(key, shared ? 1 : rows, group.positions());
  for (size_t row = 0; row < positions.size(); ++row) {
    for (const int64_t position : positions[row]) {
      if (position >= 0 && position < limits_.max_positions) continue;
      fail(key, fmt::format("row {}: position {}, but the model has only 0 to {}", row, position,
                            limits_.max_positions - 1));
    }
  }
  if (shared) positions.resize(rows, Matrix::value_type(positions.front()));
  group.position_ids = std::move(positions);
}

std::vector<std::string> GroupReader::unread_words(const std::string& labels_key) const {
  const size_t position = ids_key_.rfind(kIds);
  const std::string before = ids_key_.substr(0, position);
  const std::string after = ids_key_.substr(position + kIds.size());
  std::vector<std::string> words;
  for (const std::string& name : file_.names()) {
    if (name == ids_key_ || name == labels_key || !name.starts_with(before) ||
        !name.ends_with(after) || name.size() <= before.size() + after.size()) {
      continue;
    }
    const std::string word = name.substr(before.size(), name.size() - before.size() - after.size());
    if (word.find('.') != std::string::npos) continue;  // beside other ids
    if (std::find(kWords.begin(), kWords.end(), word) != kWords.end()) continue;
    if (looks_like_input(word)) {
      fail(name,
           fmt::format("\"{}\" is not known beside token ids{}", word, did_you_mean(word, kWords)));
    }
    words.push_back(word);
  }
  return words;
}

TokenGroup GroupReader::read(const std::string& labels_key) const {
  TokenGroup group;
  group.ids_key = ids_key_;
  group.unread = unread_words(labels_key);
  group.sequences = sequences(ids_key_, sibling("attention_mask"), sibling("lens"));
  const auto rows = static_cast<int64_t>(group.sequences.size());
  if (const std::string key = sibling("token_type_ids"); file_.contains(key)) {
    Matrix segments = integers(key, rows, group.positions());
    for (int64_t row = 0; row < rows; ++row) {
      group.sequences[row].segment_ids = std::move(segments[row]);
    }
  }
  if (const std::string key = sibling("position_ids"); file_.contains(key)) {
    read_positions(key, group);
  }
  if (const std::string key = sibling("decoder_input_ids"); file_.contains(key)) {
    group.decoder_sequences =
        sequences(key, sibling("decoder_attention_mask"), sibling("decoder_lens"));
    if (static_cast<int64_t>(group.decoder_sequences.size()) != rows) {
      fail(key, fmt::format("{} sequences, expected {}", group.decoder_sequences.size(), rows));
    }
  }
  if (const std::string key = sibling("start_positions"); file_.contains(key)) {
    group.start_positions = integer_list(key, rows);
    group.end_positions = integer_list(sibling("end_positions"), rows);
  }
  const std::string labels = labels_key.empty() ? sibling("labels") : labels_key;
  if (!labels_key.empty() || file_.contains(labels)) read_labels(labels, group);
  return group;
}

}  // namespace

std::string fill_template(const std::string& key_template, const std::string& batch) {
  std::string result = key_template;
  const size_t position = result.find("{}");
  if (position != std::string::npos) result.replace(position, 2, batch);
  return result;
}

TokenGroup read_token_group(const SafetensorsFile& file, const std::string& ids_key,
                            const std::string& labels_key, const TokenLimits& limits) {
  return GroupReader(file, ids_key, limits).read(labels_key);
}

std::vector<std::string> expand_ranges(const std::vector<std::string>& names) {
  std::vector<std::string> result;
  for (const std::string& name : names) {
    int64_t first = 0;
    int64_t last = 0;
    const char* end = name.data() + name.size();
    const auto [dash, no_first] = std::from_chars(name.data(), end, first);
    const bool has_dash = no_first == std::errc() && dash != end && *dash == '-';
    const auto [stop, no_last] =
        has_dash ? std::from_chars(dash + 1, end, last) : std::from_chars_result{end, std::errc()};
    if (!has_dash || no_last != std::errc() || stop != end || first < 0) {
      result.push_back(name);
      continue;
    }
    if (last < first || last - first > kLargestRange) {
      throw ConfigError(fmt::format("task: batches \"{}\": not a range, expected e.g. 0-3", name));
    }
    for (int64_t number = first; number <= last; ++number) result.push_back(std::to_string(number));
  }
  return result;
}

}  // namespace quell
