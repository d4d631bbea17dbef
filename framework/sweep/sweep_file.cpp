#include "framework/sweep/sweep_file.h"

#include <fmt/format.h>
#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <set>

#include "framework/base/file.h"
#include "framework/base/suggest.h"
#include "framework/config/load.h"
#include "framework/config/scalar.h"

namespace quell {
namespace {

const std::vector<std::string> kKeys = {"base", "experiment", "name", "output", "workers", "slurm",
                                        "set",  "list",       "zip",  "grid",   "exclude"};

constexpr size_t kMostCells = 100'000;

class SweepReader {
 public:
  SweepReader(const ConfigNode& root, Problems& problems) : root_(root), problems_(problems) {}

  void read(SweepFile& sweep) {
    for (const ConfigNode& child : root_.children) {
      if (std::find(kKeys.begin(), kKeys.end(), child.key) == kKeys.end()) {
        problems_.add(child.key_mark, child.key, "unknown key" + did_you_mean(child.key, kKeys));
      }
    }
    read_scalars(sweep);
    if (const ConfigNode* slurm = find_map("slurm")) {
      ReadContext context{problems_};
      sweep.slurm = read_config<SlurmOptions>(*slurm, context, "slurm");
    }
    if (const ConfigNode* set = find_map("set")) add_settings(*set, sweep.fixed);
    if (const ConfigNode* list = root_.find("list")) read_list(*list, sweep);
    if (const ConfigNode* zip = root_.find("zip")) read_zips(*zip, sweep);
    if (const ConfigNode* grid = find_map("grid")) {
      for (const ConfigNode& entry : grid->children) add_axis(entry.key_mark, {&entry}, sweep);
    }
    read_exclude(sweep);
    check_keys(sweep);
  }

 private:
  void problem(const ConfigNode& node, const std::string& path, const std::string& message) {
    problems_.add(node.mark, path, message);
  }

  const ConfigNode* find_map(const std::string& key) {
    const ConfigNode* node = root_.find(key);
    if (node != nullptr && !node->is_map()) {
      problem(*node, key, fmt::format("expected a map of keys, found {}", node->found()));
      return nullptr;
    }
    return node;
  }

  std::string read_text(const std::string& key, const std::string& otherwise) {
    const ConfigNode* node = root_.find(key);
    if (node == nullptr) return otherwise;
    if (!node->is_scalar() || node->text.empty()) {
      problem(*node, key, fmt::format("expected a text, found {}", node->found()));
    }
    return node->text;
  }

  void read_scalars(SweepFile& sweep) {
    sweep.name = read_text("name", sweep.path.stem().string());
    const ConfigNode* name = root_.find("name");
    if (name != nullptr && name->is_scalar() && !is_plain_name(sweep.name)) {
      problem(*name, "name",
              "must be the name of one folder, of letters, digits and any of . _ = + -; to write "
              "elsewhere use output:");
    }
    sweep.output = read_text("output", "runs/" + sweep.name);
    for (const char* key : {"base", "experiment"}) {
      const ConfigNode* base = root_.find(key);
      if (base == nullptr) continue;
      read_text(key, "");
      if (find_setting(sweep.fixed, "base") != nullptr) {
        problem(*base, key, "base and experiment mean the same: write one of them");
      }
      sweep.fixed.push_back({"base", *base});
    }
    const ConfigNode* workers = root_.find("workers");
    if (workers == nullptr) return;
    const auto count = parse_signed(workers->text);
    if (!workers->is_scalar() || !count || *count < 1 || *count > 1024) {
      problem(*workers, "workers", fmt::format("must be in [1, 1024], found {}", workers->found()));
    } else {
      sweep.workers = *count;
    }
  }

  void add_settings(const ConfigNode& map, Settings& settings) {
    for (const ConfigNode& entry : map.children) settings.push_back({entry.key, entry});
  }

  void read_list(const ConfigNode& list, SweepFile& sweep) {
    if (!list.is_sequence() || list.children.empty()) {
      return problem(list, "list", fmt::format("expected a list of maps, found {}", list.found()));
    }
    Axis axis;
    for (size_t i = 0; i < list.children.size(); ++i) {
      const ConfigNode& entry = list.children[i];
      if (!entry.is_map() || entry.children.empty()) {
        problem(entry, index_path("list", i),
                fmt::format("expected a map of keys, found {}", entry.found()));
        continue;
      }
      add_settings(entry, axis.points.emplace_back());
      for (const Setting& setting : axis.points.back()) {
        if (std::find(axis.keys.begin(), axis.keys.end(), setting.key) == axis.keys.end()) {
          axis.keys.push_back(setting.key);
        }
      }
    }
    sweep.axes.push_back(std::move(axis));
  }

  // One map, or a list of maps that advance independently.
  void read_zips(const ConfigNode& zip, SweepFile& sweep) {
    const auto read_one = [&](const ConfigNode& map) {
      if (!map.is_map() || map.children.empty()) {
        return problem(map, "zip", fmt::format("expected a map of lists, found {}", map.found()));
      }
      std::vector<const ConfigNode*> entries;
      for (const ConfigNode& entry : map.children) entries.push_back(&entry);
      add_axis(map.mark, entries, sweep);
    };
    if (!zip.is_sequence()) return read_one(zip);
    for (const ConfigNode& map : zip.children) read_one(map);
  }

  // Lists that advance together.
  void add_axis(const Mark& mark, const std::vector<const ConfigNode*>& entries, SweepFile& sweep) {
    Axis axis;
    for (const ConfigNode* entry : entries) {
      if (!entry->is_sequence() || entry->children.empty()) {
        const std::string found = entry->is_sequence() ? "an empty one" : entry->found();
        return problem(*entry, entry->key,
                       fmt::format("expected a list of values, found {}", found));
      }
      if (entry->children.size() != entries[0]->children.size()) {
        problems_.add(mark, "zip",
                      fmt::format("lists that advance together are equally long: {} has {} values, "
                                  "{} has {}",
                                  entries[0]->key, entries[0]->children.size(), entry->key,
                                  entry->children.size()));
        return;
      }
      axis.keys.push_back(entry->key);
    }
    axis.points.resize(entries[0]->children.size());
    for (size_t i = 0; i < axis.points.size(); ++i) {
      for (const ConfigNode* entry : entries) {
        axis.points[i].push_back({entry->key, entry->children[i]});
      }
    }
    sweep.axes.push_back(std::move(axis));
  }

  void read_exclude(SweepFile& sweep) {
    const ConfigNode* exclude = root_.find("exclude");
    if (exclude == nullptr) return;
    if (!exclude->is_sequence()) {
      return problem(*exclude, "exclude",
                     fmt::format("expected a list of maps, found {}", exclude->found()));
    }
    for (size_t i = 0; i < exclude->children.size(); ++i) {
      const ConfigNode& entry = exclude->children[i];
      if (!entry.is_map() || entry.children.empty()) {
        problem(entry, index_path("exclude", i),
                fmt::format("expected a map of keys, found {}", entry.found()));
      } else {
        add_settings(entry, sweep.exclude.emplace_back());
      }
    }
  }

  // Every key comes from one place, and excludes name swept ones.
  void check_keys(const SweepFile& sweep) {
    std::set<std::string> set_already;
    std::vector<std::string> swept;
    for (const Setting& setting : sweep.fixed) {
      if (setting.key != "base") set_already.insert(setting.key);
    }
    for (const Axis& axis : sweep.axes) {
      for (const std::string& key : axis.keys) {
        swept.push_back(key);
        if (set_already.insert(key).second) continue;
        for (const Setting& setting : axis.points[0]) {
          if (setting.key == key) problem(setting.value, key, "this key is set twice");
        }
      }
    }
    for (const Settings& entry : sweep.exclude) {
      for (const Setting& setting : entry) {
        if (std::find(swept.begin(), swept.end(), setting.key) != swept.end()) continue;
        problems_.add(
            setting.value.key_mark, "exclude",
            fmt::format("\"{}\" is not swept{}", setting.key, did_you_mean(setting.key, swept)));
      }
    }
  }

  const ConfigNode& root_;
  Problems& problems_;
};

void mark_all(ConfigNode& node, const Mark& mark) {
  node.mark = mark;
  node.key_mark = mark;
  for (ConfigNode& child : node.children) mark_all(child, mark);
}

// Whether a cell has all settings of an exclude; a list there means any of its values.
bool is_excluded(const Settings& cell, const Settings& exclude) {
  return std::all_of(exclude.begin(), exclude.end(), [&](const Setting& wanted) {
    const Setting* found = find_setting(cell, wanted.key);
    if (found == nullptr) return false;
    if (found->text() == wanted.text()) return true;
    if (!wanted.value.is_sequence()) return false;
    const auto& any = wanted.value.children;
    return std::any_of(any.begin(), any.end(), [&](const ConfigNode& value) {
      return Setting{"", value}.text() == found->text();
    });
  });
}

}  // namespace

std::string Setting::text() const { return value.is_scalar() ? value.text : to_json(value).dump(); }

const Setting* find_setting(const Settings& settings, const std::string& key) {
  const auto found = std::find_if(settings.begin(), settings.end(),
                                  [&](const Setting& setting) { return setting.key == key; });
  return found == settings.end() ? nullptr : &*found;
}

SweepFile load_sweep_file(const std::filesystem::path& path) {
  Problems problems;
  SweepFile sweep;
  sweep.path = path;
  const ConfigNode root = load_yaml(path, problems);
  if (!root.is_map()) {
    problems.add(root.mark, "", fmt::format("expected a map, found {}", root.found()));
    problems.throw_if_any();
  }
  SweepReader(root, problems).read(sweep);
  problems.throw_if_any();
  return sweep;
}

void add_fixed(SweepFile& sweep, const std::string& option) {
  const Mark mark{fmt::format("--set {}", option), 0, 0};
  Problems problems;
  const size_t equals = option.find('=');
  if (equals == std::string::npos || equals == 0) {
    problems.add(mark, "", "expected a.b=value or rules[0].bits=value");
    problems.throw_if_any();
  }
  Setting setting{option.substr(0, equals), {}};
  for (const Axis& axis : sweep.axes) {
    const bool swept =
        std::find(axis.keys.begin(), axis.keys.end(), setting.key) != axis.keys.end();
    if (swept) problems.add(mark, setting.key, "the file sweeps this key");
  }
  setting.value = parse_yaml(option.substr(equals + 1), mark.file, problems);
  mark_all(setting.value, mark);
  problems.throw_if_any();
  std::erase_if(sweep.fixed, [&](const Setting& other) { return other.key == setting.key; });
  sweep.fixed.push_back(std::move(setting));
}

std::vector<Settings> expand(const SweepFile& sweep, Problems& problems) {
  std::vector<Settings> cells(1);
  for (const Axis& axis : sweep.axes) {
    if (axis.points.size() * cells.size() > kMostCells) {
      problems.add({sweep.path.string(), 1, 1}, "",
                   fmt::format("the sweep has more than {} cells", kMostCells));
      return {};
    }
    std::vector<Settings> longer;
    for (const Settings& cell : cells) {
      for (const Settings& point : axis.points) {
        longer.push_back(cell);
        longer.back().insert(longer.back().end(), point.begin(), point.end());
      }
    }
    cells = std::move(longer);
  }
  for (const Settings& exclude : sweep.exclude) {
    const size_t before = cells.size();
    std::erase_if(cells, [&](const Settings& cell) { return is_excluded(cell, exclude); });
    if (cells.size() < before) continue;
    problems.add(exclude[0].value.key_mark, "exclude", "this matches no cell that is left");
  }
  if (cells.empty()) problems.add({sweep.path.string(), 1, 1}, "", "the sweep has no cells");
  return cells;
}

std::string short_key(const std::string& key) { return key.substr(key.find_last_of('.') + 1); }

std::string short_value(const std::string& text) {
  const bool is_structure = text.starts_with('{') || text.starts_with('[');
  if (is_structure) return text;
  const std::string last = text.substr(text.find_last_of('/') + 1);
  return last.ends_with(".yaml") ? last.substr(0, last.size() - 5) : last;
}

std::string cell_label(const Settings& settings) {
  constexpr size_t kLongest = 100;
  std::string label;
  std::set<std::string> parts;
  for (const Setting& setting : settings) {
    const std::string value = short_value(setting.text());
    const std::string part =
        setting.key == "base" ? value : fmt::format("{}={}", short_key(setting.key), value);
    if (!parts.insert(part).second) continue;
    label += (label.empty() ? "" : "_") + part;
  }
  for (char& c : label) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) ||
                       std::string("._=+-").find(c) != std::string::npos;
    if (!plain) c = '-';
  }
  if (label.empty()) return "only";
  return label.substr(0, kLongest);
}

}  // namespace quell
