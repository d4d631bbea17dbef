// Collects everything that is wrong with a configuration, so that it is shown at once.
#pragma once

#include <string>
#include <vector>

#include "framework/config/node.h"

namespace quell {

class Problems {
 public:
  // `path` names the value (`quant.rules[0].bits`), and may be empty.
  void add(const Mark& mark, const std::string& path, const std::string& message);

  bool empty() const { return problems_.empty(); }
  size_t size() const { return problems_.size(); }

  // `file:line:column: path: message`, sorted by position; files in the order of their first
  // problem.
  std::vector<std::string> lines() const;

  // Throws a ConfigError of all lines.
  void throw_if_any() const;

 private:
  struct Problem {
    Mark mark;
    std::string text;
  };
  std::vector<Problem> problems_;
};

}  // namespace quell
