#include "framework/sweep/slurm_script.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <cctype>

#include "framework/base/error.h"

namespace quell {
namespace {

// A line break in a script begins a command, whatever the quotes around it.
void refuse_control_characters(const std::string& what, const std::string& text) {
  if (std::none_of(text.begin(), text.end(),
                   [](unsigned char c) { return std::iscntrl(c) != 0; })) {
    return;
  }
  throw ConfigError(fmt::format(
      "{} holds a line break or another control character, which a script of Slurm cannot have",
      what));
}

// A word of the shell.
std::string shell_quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

// A value behind #SBATCH, which splits words at spaces.
std::string directive_quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result + "\"";
}

// A file name for --output, where % begins a pattern.
std::string pattern_quoted(const std::string& path) {
  std::string result;
  for (const char c : path) result += c == '%' ? std::string("%%") : std::string(1, c);
  return result;
}

std::string plain_name(std::string name) {
  for (char& c : name) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_';
    if (!plain) c = '-';
  }
  return name;
}

std::string directives(const SlurmJob& job, const SlurmOptions& options) {
  std::string text;
  const auto add = [&](const std::string& option) {
    refuse_control_characters("a setting in the map slurm: of the sweep file", option);
    text += fmt::format("#SBATCH {}\n", option);
  };
  const auto add_text = [&](const std::string& option, const std::string& value) {
    if (!value.empty()) add(fmt::format("--{}={}", option, directive_quoted(value)));
  };
  add("--job-name=quell-" + plain_name(job.name));
  add(fmt::format("--array=1-{}{}", job.tasks.size(),
                  options.array_limit > 0 ? fmt::format("%{}", options.array_limit) : ""));
  add_text("output", pattern_quoted((job.folder / "task_").string()) + "%a.txt");
  add("--open-mode=append");  // tasks that Slurm starts again go on with their file
  add("--requeue");
  add("--nodes=1");
  add("--ntasks=1");
  add(fmt::format("--cpus-per-task={}", options.cpus_per_task));
  if (options.gpus > 0) add(fmt::format("--gres=gpu:{}", options.gpus));
  add_text("partition", options.partition);
  add_text("account", options.account);
  add_text("time", options.time);
  add_text("mem", options.memory);
  for (const std::string& option : options.options) add(option);
  return text;
}

}  // namespace

std::vector<std::vector<std::string>> slurm_tasks(const std::vector<std::string>& cells,
                                                  const SlurmOptions& options,
                                                  int64_t max_array_size) {
  const int64_t most = max_array_size - 1;
  if (most < 1) {
    throw ConfigError("this cluster does not allow job arrays (its MaxArraySize is 0)");
  }
  const auto count = static_cast<int64_t>(cells.size());
  const int64_t least = (count + most - 1) / most;  // cells per task
  const int64_t per_task =
      options.cells_per_task > 0 ? options.cells_per_task : std::max<int64_t>(1, least);
  if (per_task < least) {
    throw ConfigError(fmt::format(
        "slurm.cells_per_task: {} makes {} tasks of {} cells, and this cluster allows {} per job "
        "array; write {} or more, or leave it out",
        per_task, (count + per_task - 1) / per_task, count, most, least));
  }
  std::vector<std::vector<std::string>> tasks;
  for (int64_t first = 0; first < count; first += per_task) {
    tasks.emplace_back(cells.begin() + first, cells.begin() + std::min(count, first + per_task));
  }
  return tasks;
}

std::string slurm_script(const SlurmJob& job, const SlurmOptions& options) {
  for (const auto& [what, path] : {std::pair{"the path of quell", job.program},
                                   {"the working folder", job.working_folder},
                                   {"the output folder of the sweep", job.output},
                                   {"the folder of the job", job.folder}}) {
    refuse_control_characters(what, path.string());
  }
  std::string text = "#!/bin/bash\n";
  text += fmt::format("# Cells of the sweep {}, as `quell sweep --slurm` submits them.\n",
                      plain_name(job.name));
  text += directives(job, options);
  text += "\nset -e\n";
  text += fmt::format("cd {}\n", shell_quoted(job.working_folder.string()));
  for (const std::string& line : options.setup) text += line + "\n";
  text += "export QUELL_THREADS=${SLURM_CPUS_PER_TASK:-1}\n";
  text += fmt::format("cells=$(sed -n \"${{SLURM_ARRAY_TASK_ID}}p\" {})\n",
                      shell_quoted((job.folder / kSlurmCells).string()));
  // In place of the shell, so that it is quell that Slurm stops.
  text += fmt::format("exec {} sweep {}{}{} --cells $cells\n", shell_quoted(job.program.string()),
                      shell_quoted(job.output.string()), job.retry ? " --retry" : "",
                      job.cache ? "" : " --no-cache");
  return text;
}

std::string slurm_cell_list(const SlurmJob& job) {
  std::string text;
  for (const auto& cells : job.tasks) text += fmt::format("{}\n", fmt::join(cells, " "));
  return text;
}

}  // namespace quell
