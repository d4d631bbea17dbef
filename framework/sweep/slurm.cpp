#include "framework/sweep/slurm.h"

#include <fmt/format.h>
#include <algorithm>
#include <optional>
#include <set>
#include <sstream>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/sweep/index.h"
#include "framework/sweep/slurm_commands.h"
#include "framework/sweep/slurm_script.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

constexpr const char* kFolder = "slurm";

std::string name_of(const CellStatus& status) { return status.folder.filename().string(); }

// The cells of one line of a list.
std::vector<std::string> listed_cells(const fs::path& list, int64_t line) {
  std::istringstream lines(read_file(list));
  std::string text;
  for (int64_t i = 0; i < line; ++i) {
    if (!std::getline(lines, text)) return {};
  }
  std::istringstream words(text);
  return {std::istream_iterator<std::string>(words), {}};
}

// Cells of the sweep in `output` that Slurm already has.
std::set<std::string> queued_cells(const fs::path& output) {
  std::set<std::string> names;
  std::error_code ignored;
  for (const QueuedTask& task : slurm_queued_tasks()) {
    const fs::path folder = task.script.parent_path();
    const fs::path list = folder / kSlurmCells;
    if (!fs::equivalent(folder.parent_path(), output / kFolder, ignored)) continue;
    if (!fs::exists(list)) continue;
    for (std::string& name : listed_cells(list, task.index)) names.insert(std::move(name));
  }
  return names;
}

// The next slurm/NUMBER, which is created unless `dry_run`.
fs::path new_folder(const fs::path& output, bool dry_run) {
  for (int64_t number = 1;; ++number) {
    const fs::path folder = output / kFolder / std::to_string(number);
    if (dry_run ? !fs::exists(folder) : fs::create_directories(folder)) return folder;
  }
}

// What a task reads: it needs neither the sweep file nor the index, which may have changed by then.
void write_cells(const std::vector<Cell>& cells, const std::vector<size_t>& chosen,
                 const SlurmSubmission& submission, const fs::path& output) {
  fs::create_directories(output / "experiments");
  for (const size_t cell : chosen) {
    const fs::path& folder = submission.status[cell].folder;
    fs::create_directories(folder);
    write_file(experiment_file(folder), cells[cell].config);
    write_cell_file(folder, cells[cell]);
  }
}

}  // namespace

SlurmSubmission submit_sweep(const SweepFile& sweep, const std::vector<Cell>& cells,
                             const SweepOptions& options, bool dry_run) {
  const bool ask = !dry_run || has_slurm();  // a dry run tells what it can anywhere
  const fs::path output = fs::absolute(options.output).lexically_normal();
  // No other submission, and no task's entry in the index, until this one is complete.
  std::optional<CellLock> lock;
  if (!dry_run) lock.emplace(wait_for_lock(output));
  SlurmSubmission submission;
  submission.status = sweep_status(cells, output);
  const auto queued = ask ? queued_cells(output) : std::set<std::string>();
  std::vector<size_t> chosen;
  std::vector<std::string> names;
  for (size_t i = 0; i < cells.size(); ++i) {
    const CellStatus& status = submission.status[i];
    if (status.state == CellState::kDone) continue;
    if (queued.contains(name_of(status))) {
      ++submission.queued;
    } else if (status.state == CellState::kWaiting || options.retry) {
      chosen.push_back(i);
      names.push_back(name_of(status));
    }
  }
  if (!dry_run) write_sweep_index(output, sweep, cells, submission.status);
  if (chosen.empty()) return submission;
  SlurmJob job{sweep.name, fs::read_symlink(options.program), fs::current_path(), output, {}, {}};
  job.retry = options.retry;
  job.cache = options.cache;
  job.tasks = slurm_tasks(names, sweep.slurm,
                          ask ? slurm_max_array_size() : static_cast<int64_t>(names.size()) + 1);
  job.folder = new_folder(output, dry_run);
  submission.folder = job.folder;
  submission.script = slurm_script(job, sweep.slurm);
  submission.cells = chosen.size();
  submission.tasks = job.tasks.size();
  if (dry_run) return submission;
  write_cells(cells, chosen, submission, output);
  write_file(job.folder / kSlurmCells, slurm_cell_list(job));
  write_file(job.folder / kSlurmScript, submission.script);
  submission.job = slurm_submit(job.folder / kSlurmScript);
  return submission;
}

}  // namespace quell
