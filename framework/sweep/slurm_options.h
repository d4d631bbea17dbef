// The `slurm:` section of a sweep file: what a task of the job array asks for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "framework/config/schema.h"

namespace quell {

struct SlurmOptions {
  std::string partition;
  std::string account;
  std::string time;
  std::string memory;
  int64_t cpus_per_task = 1;
  int64_t gpus = 0;
  int64_t array_limit = 0;
  int64_t cells_per_task = 0;
  std::vector<std::string> setup;
  std::vector<std::string> options;

  template <class V>
  static void describe(V& v) {
    v("partition", &SlurmOptions::partition, "empty: the default one of the cluster");
    v("account", &SlurmOptions::account, "who pays; empty: the default one of the user");
    v("time", &SlurmOptions::time,
      "limit of a task, as 2:30:00 (hours) or 1-12:00:00 (days); empty: that of the partition");
    v("memory", &SlurmOptions::memory, "of a task, as 16G; empty: the default of the cluster");
    v("cpus_per_task", &SlurmOptions::cpus_per_task,
      "also the threads of a cell, unless the experiment sets them", in_range(1, 1024));
    v("gpus", &SlurmOptions::gpus, "of a task", in_range(0, 64));
    v("array_limit", &SlurmOptions::array_limit, "tasks that run at a time; 0: no limit of ours",
      at_least(0));
    v("cells_per_task", &SlurmOptions::cells_per_task,
      "cells that a task runs one after another; 0: one, or as many as the cluster's MaxArraySize "
      "demands",
      at_least(0));
    v("setup", &SlurmOptions::setup, "lines of the shell before a cell runs, as module load",
      or_single());
    v("options", &SlurmOptions::options, "of sbatch that have no key here, as --qos=low",
      or_single());
  }
  static void check(const SlurmOptions& options, Report& report);
};

}  // namespace quell
