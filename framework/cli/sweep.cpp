#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>
#include <filesystem>

#include "framework/base/error.h"
#include "framework/cli/experiment_options.h"
#include "framework/cli/print.h"
#include "framework/cli/verb.h"
#include "framework/sweep/sweep.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;

constexpr int kInterrupted = 130;  // what shells show for Ctrl-C

volatile sig_atomic_t stop_requested = 0;  // signal handlers reach nothing else

void request_stop(int) { stop_requested = 1; }

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
    fmt::print("; stopped: quell sweep {} goes on\n", file);
    return kInterrupted;
  }
  fmt::print("\nquell report {} shows the table\n", output.string());
  return failed > 0 ? 1 : 0;
}

}  // namespace

int run_sweep(const Plugins& plugins, const Arguments& arguments) {
  CommandLine line("sweep FILE [options]",
                   "Runs an experiment with many settings, as a sweep file says (docs/sweeps.md): "
                   "every cell in a\nprocess and a folder of its own. What is done is not done "
                   "again, and what was stopped goes on.\nAll cells are checked before the first "
                   "one runs.");
  add_experiment_options(line);
  line.add()("workers", po::value<int64_t>(), "processes at a time, which share the cores")(
      "output", po::value<std::string>(), "the folder of the cells' folders")(
      "retry", "run cells again that failed")(
      "no-cache", "every cell computes alone what others have computed already")(
      "dry-run", "check and list the cells; run nothing")("quiet", "no line per cell");
  line.positional("file", 1);
  if (!line.parse(arguments)) return 0;
  const auto files = line.list("file");
  if (files.empty()) throw ConfigError("sweep needs a sweep file; see `quell sweep --help`");
  SweepFile sweep = load_sweep_file(files[0]);
  if (line.has("workers")) sweep.workers = line.get<int64_t>("workers");
  if (sweep.workers < 1) throw ConfigError("--workers must be at least 1");
  for (const std::string& option : line.list("set")) add_fixed(sweep, option);
  if (line.has("output")) sweep.output = line.get<std::string>("output");
  std::vector<Cell> cells = load_cells(sweep, plugins);
  Log quiet(Verbosity::kQuiet);
  fingerprint_cells(cells, plugins, quiet);
  if (line.has("dry-run")) {
    print_cells(cells, sweep_status(cells, sweep.output));
    return 0;
  }
  handle_signals();
  Log log(line.has("quiet") ? Verbosity::kQuiet : Log::default_verbosity());
  // The running program even if another has been built meanwhile.
  const SweepOptions options{.program = "/proc/self/exe",
                             .output = sweep.output,
                             .workers = sweep.workers,
                             .retry = line.has("retry"),
                             .cache = !line.has("no-cache"),
                             .stopped = [] { return stop_requested != 0; }};
  const auto status = run_sweep(sweep, cells, options, log);
  return summarize(cells, status, sweep.output, files[0]);
}

}  // namespace quell
