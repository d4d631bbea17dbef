#include "tasks/data/squad_data.h"

#include <fmt/format.h>
#include <algorithm>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string_view>

#include "framework/base/error.h"
#include "framework/io/rows.h"
#include "framework/io/text.h"
#include "framework/json/json.h"
#include "framework/text/unicode.h"

namespace quell {
namespace {

using nlohmann::json;

// Collects examples and says where they came from when something is wrong.
class Reader {
 public:
  explicit Reader(const std::filesystem::path& file) { data_.file = file; }

  void read_document(const json& root);
  void read_row(const json& row, const std::string& place);
  SquadData finish();

 private:
  // A place begins with the file: "dev.json: data[3]", "dev.jsonl:7".
  [[noreturn]] static void fail(const std::string& place, const std::string& problem) {
    throw DataError(fmt::format("{}: {}", place, problem));
  }
  std::string without_file(const std::string& place) const;
  const json& field(const json& object, const char* name, const std::string& place) const;
  std::string text(const json& object, const char* name, const std::string& place) const;
  const json& list(const json& object, const char* name, const std::string& place) const;

  void read_article(const json& article, const std::string& place);
  void read_question(const json& question, const std::string& context, const std::string& place);
  std::vector<ReferenceAnswer> answers(const json& question, const std::string& place) const;
  ReferenceAnswer answer(const json& text, const json& start, const std::string& place) const;
  void add(SquadExample example, const std::string& place);

  SquadData data_;
  std::optional<std::string> title_;         // of the row before
  std::map<std::string, std::string> seen_;  // place of each id
  std::string context_;                      // the last one, and its code points
  std::u32string context_points_;
};

const json& Reader::field(const json& object, const char* name, const std::string& place) const {
  if (!object.is_object()) {
    fail(place, fmt::format("expected an object, found {}", object.type_name()));
  }
  const auto found = object.find(name);
  if (found == object.end() || found->is_null()) {
    fail(place, fmt::format("\"{}\" is missing; expected is a file of SQuAD, or rows with id, "
                            "context, question and answers",
                            name));
  }
  return *found;
}

std::string Reader::text(const json& object, const char* name, const std::string& place) const {
  const json& value = field(object, name, place);
  if (value.is_string()) return value.get<std::string>();
  fail(place, fmt::format("\"{}\": expected a text, found {}", name, value.type_name()));
}

const json& Reader::list(const json& object, const char* name, const std::string& place) const {
  const json& value = field(object, name, place);
  if (!value.is_array()) {
    fail(place, fmt::format("\"{}\": expected a list, found {}", name, value.type_name()));
  }
  return value;
}

ReferenceAnswer Reader::answer(const json& text, const json& start,
                               const std::string& place) const {
  if (!text.is_string()) fail(place, "the text of an answer is no text");
  if (!start.is_number_integer() || start.get<int64_t>() < 0) {
    fail(place, fmt::format("answer_start {}: expected the number of the answer's first sign in "
                            "the context, counted from 0",
                            start.dump()));
  }
  return {text.get<std::string>(), start.get<int64_t>()};
}

std::vector<ReferenceAnswer> Reader::answers(const json& question, const std::string& place) const {
  // The mark "is_impossible" decides nothing, as in the official scorer, unless it stands alone.
  const bool marked = question.value("is_impossible", json()) == true;
  if (marked && question.value("answers", json()).is_null()) return {};
  const json& value = field(question, "answers", place);
  std::vector<ReferenceAnswer> result;
  if (value.is_array()) {
    for (const json& entry : value) {
      result.push_back(
          answer(field(entry, "text", place), field(entry, "answer_start", place), place));
    }
    return result;
  }
  const json& texts = list(value, "text", place);
  const json& starts = list(value, "answer_start", place);
  if (texts.size() != starts.size()) {
    fail(place, fmt::format("{} texts of answers, but {} places", texts.size(), starts.size()));
  }
  for (size_t i = 0; i < texts.size(); ++i) result.push_back(answer(texts[i], starts[i], place));
  return result;
}

// "data[3]", "line 7", "row 6".
std::string Reader::without_file(const std::string& place) const {
  const std::string file = data_.file.string();
  if (!place.starts_with(file + ":")) return place;
  const std::string rest = place.substr(file.size() + 1);
  return rest.starts_with(' ') ? rest.substr(1) : "line " + rest;
}

void Reader::add(SquadExample example, const std::string& place) {
  const auto [earlier, is_new] = seen_.emplace(example.id, place);
  if (!is_new) {
    fail(place, fmt::format("the id \"{}\" is that of {}, too; ids tell predictions apart: give "
                            "each question its own",
                            example.id, without_file(earlier->second)));
  }
  if (example.context != context_) {
    context_ = example.context;
    context_points_ = unicode::decode_utf8(context_);
  }
  if (!example.answers.empty()) {
    const ReferenceAnswer& first = example.answers.front();
    const std::u32string points = unicode::decode_utf8(first.text);
    const auto start = static_cast<size_t>(first.start);
    example.misplaced = start > context_points_.size() || points.empty() ||
                        context_points_.compare(start, points.size(), points) != 0;
  }
  example.index = std::ssize(data_.examples);
  example.article = data_.articles - 1;
  data_.examples.push_back(std::move(example));
}

void Reader::read_question(const json& question, const std::string& context,
                           const std::string& place) {
  SquadExample example;
  const json& id = field(question, "id", place);  // a number in some files; predictions say "7"
  example.id = id.is_number_integer() ? id.dump() : text(question, "id", place);
  const std::string with_id = fmt::format("{} (id {})", place, example.id);
  example.question = text(question, "question", with_id);
  example.context = context;
  example.answers = answers(question, with_id);
  add(std::move(example), place);
}

void Reader::read_article(const json& article, const std::string& place) {
  ++data_.articles;
  const json& paragraphs = list(article, "paragraphs", place);
  for (size_t p = 0; p < paragraphs.size(); ++p) {
    const std::string paragraph = fmt::format("{}.paragraphs[{}]", place, p);
    const std::string context = text(paragraphs[p], "context", paragraph);
    const json& questions = list(paragraphs[p], "qas", paragraph);
    for (size_t q = 0; q < questions.size(); ++q) {
      read_question(questions[q], context, fmt::format("{}.qas[{}]", paragraph, q));
    }
  }
}

void Reader::read_document(const json& root) {
  const bool rows_only = root.is_object() && root.contains("examples");
  const char* name = rows_only ? "examples" : "data";
  const json& entries = list(root, name, data_.file.string() + ": the whole file");
  for (size_t i = 0; i < entries.size(); ++i) {
    const std::string place = fmt::format("{}: {}[{}]", data_.file.string(), name, i);
    if (entries[i].is_object() && entries[i].contains("paragraphs")) {
      read_article(entries[i], place);
    } else {
      read_row(entries[i], place);
    }
  }
}

void Reader::read_row(const json& row, const std::string& place) {
  const std::string context = text(row, "context", place);
  const std::string title =
      row.contains("title") && row["title"].is_string() ? row["title"].get<std::string>() : "";
  if (title != title_) ++data_.articles;
  title_ = title;
  read_question(row, context, place);
}

SquadData Reader::finish() {
  if (data_.examples.empty()) {
    throw DataError(fmt::format("{}: holds no questions", data_.file.string()));
  }
  return std::move(data_);
}

std::optional<int64_t> parse_number(std::string_view text) {
  int64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || stop != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

}  // namespace

SquadData read_squad(const std::filesystem::path& file, const std::string& encoding) {
  Reader reader(file);
  const bool lines = file.extension() == ".jsonl";
  const TableFormat format = lines ? TableFormat::kJsonLines : table_format(file);
  if (lines || format == TableFormat::kParquet) {
    read_rows(file, format, encoding,
              [&](const TableRow& row) { reader.read_row(row.value, row.place); });
  } else {
    reader.read_document(parse_json(read_text(file, encoding), file.string()));
  }
  return reader.finish();
}

void keep_articles(SquadData& data, const std::vector<std::string>& ranges,
                   const std::string& key) {
  if (ranges.empty()) return;
  std::vector<bool> kept(data.articles, false);
  for (const std::string& range : ranges) {
    const size_t dash = range.find('-');
    const auto first = parse_number(std::string_view(range).substr(0, dash));
    const auto last =
        dash == std::string::npos ? first : parse_number(std::string_view(range).substr(dash + 1));
    if (!first || !last || *last < *first) {
      throw ConfigError(
          fmt::format("{}: \"{}\" is no range of articles, expected e.g. 0-35", key, range));
    }
    if (*last >= data.articles) {
      throw ConfigError(fmt::format("{}: \"{}\": {} has the articles 0-{}", key, range,
                                    data.file.string(), data.articles - 1));
    }
    std::fill(kept.begin() + *first, kept.begin() + *last + 1, true);
  }
  std::erase_if(data.examples, [&](const SquadExample& example) { return !kept[example.article]; });
  if (data.examples.empty()) {
    throw DataError(
        fmt::format("{}: these articles of {} have no questions", key, data.file.string()));
  }
}

std::vector<std::string> squad_notes(const SquadData& data, bool version_2) {
  std::vector<std::string> notes;
  const auto add = [&](const auto& applies, const std::string& what) {
    const auto count = std::count_if(data.examples.begin(), data.examples.end(), applies);
    if (count == 0) return;
    const auto first = std::find_if(data.examples.begin(), data.examples.end(), applies);
    notes.push_back(fmt::format("{}: {} questions {} (first: id {})", data.file.string(), count,
                                what, first->id));
  };
  add([](const SquadExample& example) { return example.context.empty(); },
      "have an empty context: their answer is \"empty\", as in the published script, or with "
      "version_2 none");
  if (!version_2) {
    add([](const SquadExample& example) { return example.answers.empty(); },
        "have no answer and do not count in the metrics; SQuAD v2.0 needs `version_2: true`");
  }
  return notes;
}

int64_t count_shared(const SquadData& a, const SquadData& b) {
  std::set<std::string_view> ids;
  for (const SquadExample& example : a.examples) ids.insert(example.id);
  return std::count_if(b.examples.begin(), b.examples.end(),
                       [&](const SquadExample& example) { return ids.contains(example.id); });
}

std::string drop_misplaced(SquadData& data) {
  const auto misplaced = [](const SquadExample& example) { return example.misplaced; };
  const auto first = std::find_if(data.examples.begin(), data.examples.end(), misplaced);
  if (first == data.examples.end()) return "";
  const std::string id = first->id;
  const auto count = std::erase_if(data.examples, misplaced);
  if (data.examples.empty()) {
    throw DataError(fmt::format(
        "{}: no answer stands at its answer_start, which counts Unicode code points of the "
        "context from 0; nothing is left to train on",
        data.file.string()));
  }
  return fmt::format(
      "{}: left {} questions out of training: their answer does not stand in the context at "
      "answer_start (first: id {})",
      data.file.string(), count, id);
}

SplitNames squad_file_names(const std::string& split, bool version_2) {
  SplitNames names{{split + (version_2 ? "-v2.0" : "-v1.1"), split},
                   {".json", ".jsonl", ".parquet"},
                   {version_2 ? "squad_v2" : "plain_text"},
                   /*any_config=*/true};
  if (split == "dev") names.stems.push_back("validation");
  return names;
}

}  // namespace quell
