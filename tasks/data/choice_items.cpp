#include "tasks/data/choice_items.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/io/rows.h"
#include "framework/io/sha256.h"
#include "framework/text/unicode.h"
#include "tasks/data/prompt_template.h"
#include "tasks/data/python_text.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* kHidden = "-1";

// A row while an item is made of it.
struct Row {
  const TableRow& table;
  const ChoiceRequest& request;

  const json& at(const std::string& name) const {
    if (table.value.contains(name)) return table.value.at(name);
    throw DataError(fmt::format("{}: no \"{}\"; task {} needs it, the row has {}", table.place,
                                name, request.name, fmt::join(table.columns(), ", ")));
  }
  std::string text(const json& found, const std::string& name) const {
    if (found.is_string()) return found.get<std::string>();
    throw DataError(
        fmt::format("{}: \"{}\" must be a text, found {}", table.place, name, found.type_name()));
  }
  std::string text(const std::string& name) const { return text(at(name), name); }
  std::vector<std::string> texts(const json& found, const std::string& name) const {
    if (!found.is_array()) {
      throw DataError(fmt::format("{}: \"{}\" must be a list of texts, found {}", table.place, name,
                                  found.type_name()));
    }
    std::vector<std::string> result;
    for (const json& one : found) result.push_back(text(one, name));
    return result;
  }
  // As a text: "0"; "" where there is none.
  std::string label(const json& found) const {
    if (found.is_null()) return "";
    return found.is_string() ? found.get<std::string>() : found.dump();
  }
};

std::optional<int64_t> to_number(const std::string& text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  return whole ? std::optional(number) : std::nullopt;
}

// The position of a label: by number, or by its name.
std::optional<int64_t> gold_of(const Row& row, const std::string& label, int64_t choices,
                               const std::vector<std::string>& names = {}) {
  if (label.empty() || label == kHidden) return std::nullopt;
  const auto named = std::find(names.begin(), names.end(), label);
  std::optional<int64_t> found = to_number(label);
  if (named != names.end())
    found = named - names.begin();
  else if (!names.empty())
    found.reset();
  if (found && *found >= 0 && *found < choices) return found;
  throw DataError(fmt::format("{}: the label \"{}\" is none of the {} choices; expected {}",
                              row.table.place, label, choices,
                              names.empty() ? fmt::format("a number from 0 to {}", choices - 1)
                                            : fmt::format("one of {}", fmt::join(names, ", "))));
}

// What an item is made of: `target` is what the harness hashes of it.
struct Made {
  std::vector<std::string> contexts, continuations, choices;
  std::optional<int64_t> gold;
  std::string target;
  ordered_json added = ordered_json::object();  // to the row, by the harness
};

Made with_choices(const Row& row, const std::string& context, std::vector<std::string> choices,
                  const std::string& label, const std::vector<std::string>& names = {}) {
  Made made{{context}, {}, std::move(choices), {}, {}};
  made.gold = gold_of(row, label, std::ssize(made.choices), names);
  made.target = made.gold ? std::to_string(*made.gold) : "";
  for (const std::string& choice : made.choices) {
    made.continuations.push_back(row.request.templates.delimiter + choice);
  }
  return made;
}

std::string question(const std::string& text) { return "Question: " + text + "\nAnswer:"; }

Made make_piqa(const Row& row) {
  return with_choices(row, question(row.text("goal")), {row.text("sol1"), row.text("sol2")},
                      row.label(row.at("label")));
}

Made make_arc(const Row& row) {
  const json& choices = row.at("choices");
  for (const char* part : {"text", "label"}) {
    if (choices.is_object() && choices.contains(part)) continue;
    throw DataError(fmt::format("{}: \"choices\" must be an object with \"text\" and \"label\"",
                                row.table.place));
  }
  return with_choices(row, question(row.text("question")),
                      row.texts(choices["text"], "choices.text"), row.label(row.at("answerKey")),
                      row.texts(choices["label"], "choices.label"));
}

// Takes the marks of WikiHow out.
std::string cleaned(const std::string& raw) {
  const std::u32string code_points = unicode::decode_utf8(raw);
  std::u32string text = replaced(stripped(code_points), U" [title]", U". ");
  for (size_t open = 0; (open = text.find(U'[', open)) != text.npos;) {
    const size_t close = text.find_first_of(U"]\n", open);
    if (close != text.npos && text[close] == U']') {
      text.erase(open, close + 1 - open);
    } else {
      ++open;
    }
  }
  return unicode::encode_utf8(replaced(text, U"  ", U" "));
}

Made make_hellaswag(const Row& row) {
  const std::string tail =
      unicode::encode_utf8(unicode::capitalize(unicode::decode_utf8(row.text("ctx_b"))));
  const std::string query =
      cleaned(row.text("activity_label") + ": " + row.text("ctx_a") + " " + tail);
  std::vector<std::string> endings;
  for (const std::string& ending : row.texts(row.at("endings"), "endings")) {
    endings.push_back(cleaned(ending));
  }
  Made made = with_choices(row, query, endings, row.label(row.at("label")));
  made.added = {{"query", query}, {"choices", endings}};
  if (made.gold) made.added["gold"] = *made.gold;
  return made;
}

// Partial evaluation (Trinh and Le 2018): what follows the blank is scored behind either option.
Made make_winogrande(const Row& row) {
  const std::string sentence = row.text("sentence");
  const size_t blank = sentence.find('_');
  if (blank == std::string::npos) {
    throw DataError(
        fmt::format("{}: \"sentence\" has no _ where the options belong", row.table.place));
  }
  const std::u32string behind = unicode::decode_utf8(sentence.substr(blank + 1));
  const std::string rest = unicode::encode_utf8(stripped(behind));
  Made made;
  for (const char* option : {"option1", "option2"}) {
    made.contexts.push_back(sentence.substr(0, blank) + row.text(option));
    made.continuations.push_back(row.request.templates.delimiter + rest);
  }
  made.gold = gold_of(row, row.label(row.at("answer")), 2, {"1", "2"});
  made.target = rest;
  return made;
}

// The last word of a passage; right is what the model itself would write.
Made make_lambada(const Row& row) {
  const std::string text = row.text("text");
  const size_t blank = text.rfind(' ');
  if (blank == std::string::npos) {
    throw DataError(
        fmt::format("{}: \"text\" is a single word; nothing stands before it", row.table.place));
  }
  return {{text.substr(0, blank)}, {text.substr(blank)}, {}, 0, text.substr(blank)};
}

// Of the task "other".
class Templates {
 public:
  explicit Templates(const ChoiceTemplates& templates)
      : label_(templates.label, "task.label"), has_label_(!templates.label.empty()) {
    for (const std::string& text : templates.context) contexts_.emplace_back(text, "task.context");
    for (const std::string& text : templates.choices) choices_.emplace_back(text, "task.choices");
    if (!templates.label_names.empty()) names_.emplace(templates.label_names, "task.label_names");
  }

  Made make(const Row& row) const {
    std::vector<std::string> choices = choices_of(row);
    std::vector<std::string> contexts;
    for (const PromptTemplate& one : contexts_) contexts.push_back(one.text(row.table));
    const bool partial = contexts.size() > 1;
    if (partial && choices.size() == 1) choices.assign(contexts.size(), choices.front());
    std::vector<std::string> names;
    if (names_) names = row.texts(value(*names_, row), "label_names");
    std::string label = has_label_ ? row.label(value(label_, row)) : "";
    if (!names_ && !label.empty() && !to_number(label)) names = choices;  // the text of a choice
    Made made = with_choices(row, contexts.empty() ? "" : contexts.front(), choices, label, names);
    if (partial) made.contexts = contexts;
    if (!names_) made.target = label;
    return made;
  }

 private:
  std::vector<std::string> choices_of(const Row& row) const {
    if (choices_.size() == 1) {
      const json* list = choices_.front().field(row.table);
      if (list != nullptr && list->is_array()) return row.texts(*list, "choices");
    }
    std::vector<std::string> choices;
    for (const PromptTemplate& one : choices_) choices.push_back(one.text(row.table));
    return choices;
  }
  static json value(const PromptTemplate& text, const Row& row) {
    const json* field = text.field(row.table);
    return field != nullptr ? *field : json(text.text(row.table));
  }

  std::vector<PromptTemplate> contexts_, choices_;
  std::optional<PromptTemplate> names_;
  PromptTemplate label_;
  bool has_label_;
};

struct ChoiceTask {
  const char* name;
  const char* harness;  // task and version
  const char* config;   // folder of the Hub
  std::vector<std::string> dev_stems;
  Made (*make)(const Row&);
  std::vector<std::string> columns;  // in the order of the data set
};

const std::vector<ChoiceTask>& choice_tasks() {
  const std::vector<std::string> validation = {"validation", "val", "dev"};
  const std::vector<std::string> test = {"test", "dev", "validation"};
  const std::vector<std::string> arc = {"id", "question", "choices", "text", "label", "answerKey"};
  static const std::vector<ChoiceTask> tasks = {
      {"piqa", "piqa 1.0", "", validation, make_piqa, {"goal", "sol1", "sol2", "label"}},
      {"arc_easy", "arc_easy 1.0", "ARC-Easy", test, make_arc, arc},
      {"arc_challenge", "arc_challenge 1.0", "ARC-Challenge", test, make_arc, arc},
      {"hellaswag",
       "hellaswag 1.0",
       "",
       validation,
       make_hellaswag,
       {"ind", "activity_label", "ctx_a", "ctx_b", "ctx", "endings", "source_id", "split",
        "split_type", "label"}},
      {"winogrande",
       "winogrande 1.0",
       "winogrande_xl",
       validation,
       make_winogrande,
       {"sentence", "option1", "option2", "answer"}},
      {"lambada", "lambada_openai 1.0", "default", test, make_lambada, {"text"}},
      {"other", "", "", validation, nullptr, {}}};
  return tasks;
}

const ChoiceTask& choice_task(const std::string& name) {
  const auto& tasks = choice_tasks();
  const auto found = std::find_if(tasks.begin(), tasks.end(),
                                  [&](const ChoiceTask& task) { return task.name == name; });
  QUELL_ASSERT(found != tasks.end(), "a name that describe() allows");
  return *found;
}

// With `first` keys in front, in their order; JSON objects of a row have lost theirs.
ordered_json in_order(const json& value, const std::vector<std::string>& first) {
  if (value.is_array()) {
    ordered_json list = ordered_json::array();
    for (const json& one : value) list.push_back(in_order(one, first));
    return list;
  }
  if (!value.is_object()) return value;
  ordered_json object = ordered_json::object();
  for (const std::string& key : first) {
    if (value.contains(key)) object[key] = in_order(value.at(key), first);
  }
  for (const auto& [key, one] : value.items()) {
    if (!object.contains(key)) object[key] = in_order(one, first);
  }
  return object;
}

std::map<std::string, std::string> hashes_of(const TableRow& row, const ChoiceTask& task,
                                             const Made& made) {
  ordered_json doc = in_order(row.value, task.columns.empty() ? row.columns() : task.columns);
  for (const auto& [key, value] : made.added.items()) doc[key] = value;
  const std::string text =
      doc.dump(2, ' ', /*ensure_ascii=*/false, ordered_json::error_handler_t::replace);
  return {{"doc_hash", sha256_of_text(text)},
          {"prompt_hash", sha256_of_text(made.contexts.front())},
          {"target_hash", sha256_of_text(made.target)}};
}

void check_choices(const Made& made, const Row& row) {
  const bool alone = row.request.name == "lambada";
  if (!alone && made.continuations.size() < 2) {
    throw DataError(fmt::format("{}: {} of the item; a choice needs two or more", row.table.place,
                                made.continuations.empty() ? "no choices" : "one choice"));
  }
  if (made.contexts.size() != 1 && made.contexts.size() != made.continuations.size()) {
    throw DataError(fmt::format("{}: {} contexts, but {} choices", row.table.place,
                                made.contexts.size(), made.continuations.size()));
  }
  for (size_t i = 0; i < made.choices.size(); ++i) {
    if (!made.choices[i].empty()) continue;
    throw DataError(fmt::format("{}: choice {} is empty", row.table.place, i));
  }
}

}  // namespace

std::string harness_task(const std::string& name) { return choice_task(name).harness; }

ChoiceData read_choices(const fs::path& file, const ChoiceRequest& request) {
  const ChoiceTask& task = choice_task(request.name);
  const Templates templates(request.templates);
  ChoiceData data{file, {}, {}};
  int64_t rows = 0, hidden = 0;
  read_rows(file, table_format(file), request.encoding, [&](const TableRow& table) {
    if (!table.value.is_object()) throw DataError(table.place + ": expected a JSON object");
    const int64_t index = rows++;
    if (!request.rows.contains(index)) return;
    const Row row{table, request};
    Made made = task.make != nullptr ? task.make(row) : templates.make(row);
    check_choices(made, row);
    hidden += !made.gold;
    ChoiceItem item{.index = index, .place = table.place, .hashes = hashes_of(table, task, made)};
    for (const char* key : {"id", "ind"}) {
      if (table.value.contains(key) && item.id.empty()) item.id = row.label(table.value.at(key));
    }
    if (made.contexts.size() == 1) {
      made.contexts.resize(made.continuations.size(), made.contexts.front());
    }
    item.contexts = std::move(made.contexts);
    item.continuations = std::move(made.continuations);
    item.choices = std::move(made.choices);
    item.gold = made.gold;
    data.items.push_back(std::move(item));
  });
  request.rows.check(rows, file);
  if (data.items.empty()) throw DataError(fmt::format("{}: holds no items", file.string()));
  if (hidden > 0) {
    data.notes.push_back(
        fmt::format("{}: {} of {} items have no label; they are scored, but do "
                    "not count in the metrics",
                    file.string(), hidden, data.items.size()));
  }
  return data;
}

SplitNames choice_file_names(const std::string& split, const std::string& name) {
  const ChoiceTask& task = choice_task(name);
  SplitNames names{{"train"}, {".jsonl", ".json", ".csv", ".parquet"}};
  if (split != "train") names.stems = task.dev_stems;
  if (*task.config != '\0') names.configs = {task.config};
  names.any_config = *task.config == '\0';
  return names;
}

}  // namespace quell
