#include "framework/sweep/report.h"

#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "framework/base/error.h"
#include "framework/base/suggest.h"
#include "framework/config/scalar.h"
#include "framework/sweep/report_items.h"
#include "framework/sweep/sweep_file.h"
#include "framework/task/metric_names.h"

namespace quell {
namespace {

using Label = std::vector<std::string>;

bool contains(const std::vector<std::string>& list, const std::string& text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

// Whether equal values of `known` mean equal values of `key` in all runs.
bool is_determined(const std::string& key, const Label& known, const RunList& list) {
  std::map<Label, std::string> found;
  for (const Run& run : list.runs) {
    Label label;
    for (const std::string& other : known) label.push_back(run.value(other).value_or(""));
    const std::string value = run.value(key).value_or("");
    if (found.emplace(label, value).first->second != value) return false;
  }
  return true;
}

bool is_numeric(const std::string& key, const RunList& list) {
  return std::all_of(list.runs.begin(), list.runs.end(), [&](const Run& run) {
    return parse_double(run.value(key).value_or("")).has_value();
  });
}

// The swept keys but seeds, without those that say nothing new.
Label swept_keys(const RunList& list) {
  Label keys;
  for (const auto& axis : list.axes) {
    for (const std::string& key : axis) {
      if (short_key(key) == "seed" || contains(keys, key)) continue;
      if (axis.size() > 1 && !keys.empty() && is_determined(key, keys, list)) continue;
      keys.push_back(key);
    }
  }
  return keys;
}

Label name_or_folder(const RunList& list) {
  std::set<std::string> names;
  for (const Run& run : list.runs) names.insert(run.value("name").value_or(""));
  return {names.size() == list.runs.size() ? "name" : "folder"};
}

class ReportMaker {
 public:
  ReportMaker(const RunList& list, const ReportOptions& options)
      : list_(list), options_(options), items_(shown_items(list, options)) {
    if (items_.empty()) throw DataError("no run has a result yet");
  }

  ReportTable make() {
    choose_keys();
    sort_into_cells();
    for (auto& row : members_) {
      auto& cells = report_.cells.emplace_back();
      for (const auto& members : row) cells.push_back(make_cell(members));
    }
    if (!options_.baseline.empty()) test();
    mark_best();
    return std::move(report_);
  }

 private:
  using Members = std::vector<const ReportItem*>;

  void check_key(const std::string& key) const {
    std::set<std::string> keys = {"stage", "metric", "folder"};
    for (const ReportItem& item : items_) {
      if (!item.text(key).empty()) return;
      for (const auto& [name, value] : item.run->settings) keys.insert(name);
      for (const auto& [name, value] : item.run->config) keys.insert(name);
    }
    const std::vector<std::string> known(keys.begin(), keys.end());
    throw ConfigError(fmt::format("no run has the key \"{}\"{}", key, did_you_mean(key, known)));
  }

  bool differs(const std::string& key) const {
    return std::any_of(items_.begin(), items_.end(), [&](const ReportItem& item) {
      return item.text(key) != items_[0].text(key);
    });
  }

  void choose_keys() {
    Label swept = swept_keys(list_);
    if (swept.empty()) swept = name_or_folder(list_);
    report_.row_keys = options_.rows;
    report_.column_keys = options_.columns;
    std::erase_if(swept, [&](const std::string& key) {
      return contains(options_.rows, key) || contains(options_.columns, key);
    });
    if (options_.columns.empty() && swept.size() + options_.rows.size() > 1) {
      const auto numeric = std::find_if(swept.rbegin(), swept.rend(), [&](const std::string& key) {
        return is_numeric(key, list_);
      });
      if (numeric != swept.rend()) {
        report_.column_keys = {*numeric};
        swept.erase(std::next(numeric).base());
      }
    }
    if (options_.rows.empty()) report_.row_keys = swept;
    add_key_where_it_differs("metric", report_.row_keys, report_.metric);
    add_key_where_it_differs("stage", report_.column_keys, report_.stage);
    for (const auto* keys : {&report_.row_keys, &report_.column_keys}) {
      for (const std::string& key : *keys) check_key(key);
    }
  }

  void add_key_where_it_differs(const std::string& key, Label& keys, std::string& only) {
    if (!differs(key)) {
      only = items_[0].text(key);
    } else if (!contains(report_.row_keys, key) && !contains(report_.column_keys, key)) {
      // Before the last key, whose values are compared with each other.
      keys.insert(keys.empty() || key == "stage" ? keys.end() : keys.end() - 1, key);
    }
  }

  // The different labels, by the order in which the values of each key appear.
  std::vector<Label> labels(const Label& keys) const {
    std::vector<std::map<std::string, size_t>> ranks(keys.size());
    std::map<std::vector<size_t>, Label> sorted;
    for (const ReportItem& item : items_) {
      Label label;
      std::vector<size_t> place;
      for (size_t i = 0; i < keys.size(); ++i) {
        label.push_back(item.text(keys[i]));
        place.push_back(ranks[i].emplace(label.back(), ranks[i].size()).first->second);
      }
      sorted.emplace(place, label);
    }
    std::vector<Label> result;
    for (auto& [place, label] : sorted) result.push_back(std::move(label));
    return result;
  }

  static Label label_of(const ReportItem& item, const Label& keys) {
    Label label;
    for (const std::string& key : keys) label.push_back(item.text(key));
    return label;
  }

  void sort_into_cells() {
    report_.rows = labels(report_.row_keys);
    report_.columns = labels(report_.column_keys);
    members_.assign(report_.rows.size(), std::vector<Members>(report_.columns.size()));
    for (const ReportItem& item : items_) {
      const auto row =
          std::find(report_.rows.begin(), report_.rows.end(), label_of(item, report_.row_keys));
      const auto column = std::find(report_.columns.begin(), report_.columns.end(),
                                    label_of(item, report_.column_keys));
      members_[row - report_.rows.begin()][column - report_.columns.begin()].push_back(&item);
    }
  }

  ReportCell make_cell(const Members& members) {
    ReportCell cell;
    cell.expected = static_cast<int64_t>(members.size());
    for (const ReportItem* item : members) {
      cell.stage = item->stage;
      cell.metric = item->metric;
      if (item->complete) cell.values.push_back(item->value);
      for (const auto& [key, value] : item->run->settings) {
        const bool shown = contains(report_.row_keys, key) || contains(report_.column_keys, key);
        if (shown || members[0]->text(key) == value || contains(report_.averaged, key)) continue;
        report_.averaged.push_back(key);
      }
    }
    cell.mean = mean(cell.values);
    cell.deviation = standard_deviation(cell.values);
    cell.interval = bootstrap_interval(cell.values);
    cell.percent = is_fraction(cell.metric) && stays_below_one(cell.metric);
    return cell;
  }

  bool stays_below_one(const std::string& metric) const {
    constexpr double kRounding = 1e-9;  // correlations may exceed 1 in the last bits
    return std::all_of(items_.begin(), items_.end(), [&](const ReportItem& item) {
      return item.metric != metric || std::isnan(item.value) ||
             std::abs(item.value) <= 1 + kRounding;
    });
  }

  void test() {
    Label keys = report_.row_keys;
    keys.insert(keys.end(), report_.column_keys.begin(), report_.column_keys.end());
    const BaselineTest baseline(options_.baseline, list_, keys);
    report_.baseline = options_.baseline;
    for (size_t row = 0; row < members_.size(); ++row) {
      for (size_t column = 0; column < members_[row].size(); ++column) {
        report_.cells[row][column].p = baseline.p(members_[row][column]);
      }
    }
  }

  // Rows compete where they agree in all keys but the last.
  static bool compete(const Label& a, const Label& b) {
    return a.size() == b.size() && (a.empty() || std::equal(a.begin(), a.end() - 1, b.begin()));
  }

  void mark_best() {
    if (options_.best == Best::kNone) return;
    const bool down = options_.best == Best::kColumn;
    for (size_t row = 0; row < report_.rows.size(); ++row) {
      for (size_t column = 0; column < report_.columns.size(); ++column) {
        std::vector<const ReportCell*> rivals;
        for (size_t other = 0; other < (down ? report_.rows : report_.columns).size(); ++other) {
          const ReportCell& rival = down ? report_.cells[other][column] : report_.cells[row][other];
          const bool same = down ? compete(report_.rows[row], report_.rows[other])
                                 : compete(report_.columns[column], report_.columns[other]);
          if (same && !rival.values.empty()) rivals.push_back(&rival);
        }
        ReportCell& cell = report_.cells[row][column];
        cell.best = !cell.values.empty() && rivals.size() > 1 && is_best(cell, rivals);
      }
    }
  }

  // As far as two digits behind the point show.
  static bool is_best(const ReportCell& cell, const std::vector<const ReportCell*>& rivals) {
    const bool lower = lower_is_better(cell.metric);
    const auto shown = [&](const ReportCell& any) {
      const double value = std::round(any.mean * (any.percent ? 1e4 : 1e2));
      return lower ? -value : value;
    };
    const bool is_count =
        cell.metric == "gen_len" || cell.metric.find("thresh") != std::string::npos;
    return !is_count && !std::isnan(cell.mean) &&
           std::none_of(rivals.begin(), rivals.end(),
                        [&](const ReportCell* rival) { return shown(*rival) > shown(cell); });
  }

  const RunList& list_;
  const ReportOptions& options_;
  const std::vector<ReportItem> items_;
  std::vector<std::vector<Members>> members_;  // as the report's cells
  ReportTable report_;
};

}  // namespace

ReportTable make_report(const RunList& list, const ReportOptions& options) {
  return ReportMaker(list, options).make();
}

}  // namespace quell
