#include "framework/sweep/sweep.h"

#include <fmt/format.h>
#include <signal.h>
#include <algorithm>
#include <chrono>
#include <deque>
#include <list>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/json/json.h"
#include "framework/run/threads.h"
#include "framework/sweep/child.h"
#include "framework/sweep/index.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kPollInterval = std::chrono::milliseconds(20);
constexpr auto kBusyInterval =
    std::chrono::milliseconds(500);                     // while other sweeps are at the rest
constexpr auto kGrace = std::chrono::seconds(5);        // for stopped processes, before SIGKILL
constexpr auto kSignalDelay = std::chrono::seconds(1);  // between signals sent together
constexpr const char* kCacheFolder = "cache";
constexpr size_t kLastWords = 4000;  // bytes of output kept in error.txt

std::string duration(double seconds) {
  if (seconds < 90) return fmt::format("{:.0f} s", seconds);
  if (seconds < 5400) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

// "accuracy 83.26": the main metric of the last stage.
std::string main_metric(const fs::path& folder) {
  std::string text = "done";
  read_own_json(folder / "metrics.json", [&](const nlohmann::ordered_json& metrics) {
    const auto& stages = metrics.at("stages");
    if (stages.empty() || stages.back().empty()) return;
    const auto first = stages.back().items().begin();
    if (!first.value().is_number()) return;
    text = fmt::format("{} {:.4f}", first.key(), first.value().get<double>());
  });
  return text;
}

class Pool {
 public:
  Pool(const SweepFile& sweep, const std::vector<Cell>& cells, const SweepOptions& options,
       Log& log)
      : sweep_(sweep), cells_(cells), options_(options), log_(log) {
    status_ = sweep_status(cells, options.output);
    for (size_t i = 0; i < cells.size(); ++i) {
      const bool again = status_[i].state == CellState::kFailed && options.retry;
      if (status_[i].state == CellState::kWaiting || again) waiting_.push_back(i);
    }
    to_do_ = waiting_.size();
    // Longer pipelines go on from the steps of the shorter ones.
    std::stable_sort(waiting_.begin(), waiting_.end(), [&](size_t left, size_t right) {
      return cells[left].spec.pipeline.size() < cells[right].spec.pipeline.size();
    });
  }

  std::vector<CellStatus> run() {
    std::error_code reported_when_writing;
    fs::create_directories(options_.output / "experiments", reported_when_writing);
    announce();
    write_index();
    while (!waiting_.empty() || !running_.empty()) {
      if (options_.stopped && options_.stopped()) {
        stop();
        break;
      }
      const bool blocked = !start_some();
      collect_some();
      std::this_thread::sleep_for(blocked ? kBusyInterval : kPollInterval);
    }
    write_index();
    return status_;
  }

 private:
  struct Running {
    size_t cell;
    CellLock lock;
    std::unique_ptr<Child> child;
    Clock::time_point start;
  };

  size_t count(CellState state) const {
    return static_cast<size_t>(
        std::count_if(status_.begin(), status_.end(),
                      [&](const CellStatus& status) { return status.state == state; }));
  }

  void announce() {
    std::string text =
        fmt::format("{}: {} cells in {}", sweep_.name, cells_.size(), options_.output.string());
    if (const size_t done = count(CellState::kDone)) text += fmt::format(", {} done", done);
    const size_t failed = count(CellState::kFailed);
    if (failed > 0) {
      text += fmt::format(", {} failed{}", failed, options_.retry ? "" : " (--retry runs them)");
    }
    log_.info(text);
  }

  void write_index() {
    if (options_.part) return update_sweep_index(options_.output, cells_, status_);
    write_sweep_index(options_.output, sweep_, cells_, status_);
  }

  // Fills free workers. False when all that waits is in the hands of other sweeps.
  bool start_some() {
    size_t refused = 0;
    while (static_cast<int64_t>(running_.size()) < options_.workers && refused < waiting_.size()) {
      const size_t cell = waiting_.front();
      waiting_.pop_front();
      CellLock lock(status_[cell].folder);
      if (!lock.held()) {
        waiting_.push_back(cell);
        ++refused;
      } else if (const CellState state = state_of(cell); is_settled(cell, state)) {
        status_[cell].state = state;  // another sweep has done it meanwhile
        --to_do_;
        write_index();
      } else {
        start(cell, std::move(lock));
      }
    }
    return refused == 0;
  }

  CellState state_of(size_t cell) const {
    return cell_state(status_[cell].folder, cells_[cell].fingerprint);
  }

  // Failed cells that are to be retried have been seen as failed at the start.
  bool is_settled(size_t cell, CellState state) const {
    if (state == CellState::kDone) return true;
    return state == CellState::kFailed && status_[cell].state != CellState::kFailed;
  }

  void start(size_t cell, CellLock lock) {
    const fs::path& folder = status_[cell].folder;
    const fs::path file = experiment_file(folder);
    write_file(file, cells_[cell].config);
    write_cell_file(folder, cells_[cell]);
    std::error_code ignored;
    fs::remove(folder / kErrorFile, ignored);
    status_[cell].state = CellState::kWaiting;
    ChildCommand command;
    command.arguments = {options_.program.string(), "run",     file.string(), "--output",
                         folder.string(),           "--resume"};
    if (options_.cache) {
      command.arguments.insert(command.arguments.end(),
                               {"--cache", (options_.output / kCacheFolder).string()});
    }
    command.environment = {
        {"QUELL_THREADS", std::to_string(std::max<int64_t>(1, all_threads() / options_.workers))}};
    command.output = folder / kOutputFile;
    command.inherited = lock.descriptor();
    auto child = std::make_unique<Child>(command);
    running_.push_back({cell, std::move(lock), std::move(child), Clock::now()});
  }

  void collect_some() {
    for (auto it = running_.begin(); it != running_.end();) {
      const auto end = it->child->poll();
      if (!end) {
        ++it;
        continue;
      }
      finish(*it, *end);
      it = running_.erase(it);
    }
  }

  // Whether the process has run this very experiment.
  bool has_result(size_t cell) const {
    const fs::path file = status_[cell].folder / "config.resolved.yaml";
    return fs::exists(status_[cell].folder / "metrics.json") && fs::exists(file) &&
           read_file(file) == cells_[cell].config;
  }

  // Whether a process has ended because all are to stop. Batch systems send the signal to every
  // process, and ours may get it after those of the cells.
  bool is_stop(const ChildEnd& end) const {
    if (!options_.stopped) return false;
    const bool asked = end.signal == SIGTERM || end.signal == SIGINT || end.signal == SIGHUP;
    const auto deadline = Clock::now() + (asked ? kSignalDelay : Clock::duration::zero());
    while (!options_.stopped() && Clock::now() < deadline) {
      std::this_thread::sleep_for(kPollInterval);
    }
    return options_.stopped();
  }

  void finish(const Running& running, const ChildEnd& end) {
    CellStatus& status = status_[running.cell];
    status.seconds = std::chrono::duration<double>(Clock::now() - running.start).count();
    const std::string& label = cells_[running.cell].label;
    if (end.success() && has_result(running.cell)) {
      status.state = CellState::kDone;
      std::error_code ignored;
      fs::remove(status.folder / kOutputFile, ignored);
      say(fmt::format("{}: {} ({})", label, main_metric(status.folder), duration(status.seconds)));
    } else if (!is_stop(end)) {
      status.state = CellState::kFailed;
      std::string output = read_file(status.folder / kOutputFile);
      if (output.size() > kLastWords) output.erase(0, output.size() - kLastWords);
      write_file(status.folder / kErrorFile, fmt::format("{}\n{}", end.text(), output));
      say(fmt::format("{}: failed, {}; see {}", label, end.text(),
                      (status.folder / kErrorFile).string()));
    } else {
      status.state = state_of(running.cell);  // it may have been done before the signal came
    }
    write_index();
  }

  // One line per cell, with the time that is left at the present pace.
  void say(const std::string& text) {
    ++finished_;
    const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
    const auto left = static_cast<double>(to_do_ - std::min(to_do_, finished_));
    const std::string time =
        left > 0
            ? fmt::format("; {} left", duration(elapsed / static_cast<double>(finished_) * left))
            : "";
    log_.info(fmt::format("[{}/{}] {}{}", count(CellState::kDone) + count(CellState::kFailed),
                          cells_.size(), text, time));
  }

  // Ends the processes; their cells go on from their progress at the next sweep.
  void stop() {
    for (const Running& running : running_) running.child->send(SIGTERM);
    const auto deadline = Clock::now() + kGrace;
    while (!running_.empty() && Clock::now() < deadline) {
      collect_some();
      std::this_thread::sleep_for(kPollInterval);
    }
    for (Running& running : running_) {
      running.child->send(SIGKILL);
      finish(running, running.child->wait());
    }
    running_.clear();
  }

  const SweepFile& sweep_;
  const std::vector<Cell>& cells_;
  const SweepOptions& options_;
  Log& log_;
  std::vector<CellStatus> status_;
  std::deque<size_t> waiting_;
  std::list<Running> running_;
  size_t to_do_ = 0;     // cells that this sweep found waiting
  size_t finished_ = 0;  // of them
  Clock::time_point start_ = Clock::now();
};

}  // namespace

std::vector<CellStatus> sweep_status(const std::vector<Cell>& cells, const fs::path& output) {
  CellFolders folders(output);
  std::vector<CellStatus> status;
  for (const Cell& cell : cells) {
    const fs::path folder = folders.of(cell);
    status.push_back({folder, cell_state(folder, cell.fingerprint)});
  }
  return status;
}

std::vector<CellStatus> run_sweep(const SweepFile& sweep, const std::vector<Cell>& cells,
                                  const SweepOptions& options, Log& log) {
  return Pool(sweep, cells, options, log).run();
}

}  // namespace quell
