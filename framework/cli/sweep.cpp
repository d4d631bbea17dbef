#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>
#include <filesystem>

#include "framework/base/error.h"
#include "framework/cli/experiment_options.h"
#include "framework/cli/print.h"
#include "framework/cli/verb.h"
#include "framework/sweep/index.h"
#include "framework/sweep/prepared_cells.h"
#include "framework/sweep/slurm.h"
#include "framework/sweep/slurm_script.h"
#include "framework/sweep/sweep.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;

// The running program even if another has been built meanwhile.
constexpr const char* kProgram = "/proc/self/exe";
constexpr int kInterrupted = 130;  // what shells show for Ctrl-C

volatile sig_atomic_t stop_requested = 0;  // signal handlers reach nothing else

void request_stop(int) { stop_requested = 1; }

bool is_stopped() { return stop_requested != 0; }

void handle_signals() {
  struct sigaction action = {};
  action.sa_handler = request_stop;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(signal, &action, nullptr);
}

const char* describe(CellState state) {
  if (state == CellState::kDone) return "done";
  return state == CellState::kFailed ? "failed" : "to run";
}

void print_cells(const std::vector<Cell>& cells, const std::vector<CellStatus>& status) {
  std::vector<std::vector<std::string>> rows = {{"cell", "state", "folder"}};
  for (size_t i = 0; i < cells.size(); ++i) {
    rows.push_back({cells[i].label, describe(status[i].state), status[i].folder.string()});
  }
  fmt::print("{}", text_table(rows));
}

// The exit code.
int summarize(const std::vector<Cell>& cells, const std::vector<CellStatus>& status,
              const fs::path& output, const std::string& file) {
  size_t done = 0, failed = 0;
  for (size_t i = 0; i < cells.size(); ++i) {
    done += status[i].state == CellState::kDone;
    failed += status[i].state == CellState::kFailed;
    if (status[i].state != CellState::kFailed) continue;
    fmt::print("failed: {}, see {}\n", cells[i].label, (status[i].folder / kErrorFile).string());
  }
  fmt::print("{} of {} cells done", done, cells.size());
  if (failed > 0) fmt::print(", {} failed (--retry runs them again)", failed);
  if (stop_requested) {
    fmt::print("; stopped{}\n", file.empty() ? "" : fmt::format(": quell sweep {} goes on", file));
    return kInterrupted;
  }
  fmt::print("\n");
  if (!file.empty()) fmt::print("quell report {} shows the table\n", output.string());
  return failed > 0 ? 1 : 0;
}

SweepOptions sweep_options(const fs::path& output, int64_t workers, const CommandLine& line) {
  return {.program = kProgram,
          .output = output,
          .workers = workers,
          .retry = line.has("retry"),
          .cache = !line.has("no-cache"),
          .stopped = is_stopped};
}

// `--slurm`
int submit(const SweepFile& sweep, const std::vector<Cell>& cells, const CommandLine& line) {
  const bool dry_run = line.has("dry-run");
  const SweepOptions options = sweep_options(sweep.output, sweep.workers, line);
  const SlurmSubmission submission = submit_sweep(sweep, cells, options, dry_run);
  size_t done = 0, failed = 0;
  for (const CellStatus& status : submission.status) {
    done += status.state == CellState::kDone;
    failed += status.state == CellState::kFailed;
  }
  fmt::print(stderr, "{}: {} cells in {}, {} done, {} failed{}, {} queued already\n", sweep.name,
             cells.size(), sweep.output.string(), done, failed,
             failed > 0 && !options.retry ? " (--retry runs them again)" : "", submission.queued);
  if (submission.cells == 0) {
    fmt::print("nothing to submit\n");
  } else if (dry_run) {
    fmt::print("{}", submission.script);
  } else {
    fmt::print("job {}: {} cells in {} tasks, {}\n", submission.job, submission.cells,
               submission.tasks, (submission.folder / kSlurmScript).string());
    fmt::print(
        "  watch   squeue --job {}; this command with --dry-run for --slurm lists the cells\n",
        submission.job);
    fmt::print("  cancel  scancel {}; this command submits what is left then\n", submission.job);
    fmt::print("  report  quell report {}\n", sweep.output.string());
  }
  return 0;
}

// `--cells`: cells that were submitted, in the folder of their sweep.
int run_prepared(const fs::path& output, const CommandLine& line, const Plugins& plugins) {
  for (const char* option : {"slurm", "dry-run", "set", "output"}) {
    if (line.has(option)) throw ConfigError(fmt::format("--{} does not go with --cells", option));
  }
  const std::vector<Cell> cells = load_prepared_cells(output, line.list("cells"), plugins);
  handle_signals();
  SweepFile sweep;
  sweep.name = output.filename().string();
  SweepOptions options =
      sweep_options(output, line.has("workers") ? line.get<int64_t>("workers") : 1, line);
  options.part = true;
  Log log(line.has("quiet") ? Verbosity::kQuiet : Log::default_verbosity());
  return summarize(cells, run_sweep(sweep, cells, options, log), output, "");
}

SweepFile read_sweep(const CommandLine& line) {
  SweepFile sweep = load_sweep_file(line.list("file")[0]);
  if (line.has("workers")) sweep.workers = line.get<int64_t>("workers");
  if (line.has("workers") && line.has("slurm")) {
    throw ConfigError(
        "--workers is for sweeps on this machine; with --slurm, array_limit in the "
        "map slurm: of the sweep file says how many tasks run at a time");
  }
  for (const std::string& option : line.list("set")) add_fixed(sweep, option);
  if (line.has("output")) sweep.output = line.get<std::string>("output");
  return sweep;
}

}  // namespace

int run_sweep(const Plugins& plugins, const Arguments& arguments) {
  CommandLine line("sweep FILE [options]",
                   "Runs an experiment with many settings, as a sweep file says (docs/sweeps.md): "
                   "every cell in a\nprocess and a folder of its own. What is done is not done "
                   "again, and what was stopped goes on.\nAll cells are checked before the first "
                   "one runs. With --slurm they run as a job array of Slurm.");
  add_experiment_options(line);
  line.add()("workers", po::value<int64_t>(), "processes at a time, which share the cores")(
      "output", po::value<std::string>(), "the folder of the cells' folders")(
      "retry", "run cells again that failed")(
      "no-cache", "every cell computes alone what others have computed already")(
      "dry-run", "check and list the cells, with --slurm print the script; run nothing")(
      "slurm", "submit the cells as a job array of Slurm, and end")(
      "cells", po::value<std::vector<std::string>>()->multitoken(),
      "what jobs do: FILE is the folder of a submitted sweep, and these cells of it run here")(
      "quiet", "no line per cell");
  line.positional("file", 1);
  if (!line.parse(arguments)) return 0;
  if (line.list("file").empty()) {
    throw ConfigError("sweep needs a sweep file; see `quell sweep --help`");
  }
  if (line.has("workers") && line.get<int64_t>("workers") < 1) {
    throw ConfigError("--workers must be at least 1");
  }
  const std::string file = line.list("file")[0];
  if (line.has("cells")) return run_prepared(file, line, plugins);
  const SweepFile sweep = read_sweep(line);
  std::vector<Cell> cells = load_cells(sweep, plugins);
  Log quiet(Verbosity::kQuiet);
  fingerprint_cells(cells, plugins, quiet);
  if (line.has("slurm")) return submit(sweep, cells, line);
  if (line.has("dry-run")) {
    print_cells(cells, sweep_status(cells, sweep.output));
    return 0;
  }
  handle_signals();
  Log log(line.has("quiet") ? Verbosity::kQuiet : Log::default_verbosity());
  const SweepOptions options = sweep_options(sweep.output, sweep.workers, line);
  return summarize(cells, run_sweep(sweep, cells, options, log), sweep.output, file);
}

}  // namespace quell
