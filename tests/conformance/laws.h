// Laws that every plug-in of a kind obeys, or declares that it cannot: entry.breaks(law, reason).
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "framework/plugin/entry.h"

namespace quell {

// What is wrong, "" where the law is obeyed.
using Violation = std::string;

template <class Entry>
using Laws = std::vector<std::pair<std::string, std::function<Violation(const Entry&)>>>;

// Checks every law. An exception is printed, and has to be needed; one that names no law is a
// failure.
template <class Entry>
void expect_laws(const Entry& entry, const Laws<Entry>& laws) {
  for (const auto& [law, check] : laws) {
    const Violation violation = check(entry);
    if (entry.obeys(law)) {
      EXPECT_EQ(violation, "") << entry.name() << " breaks the law " << law;
      continue;
    }
    fmt::print("exception: {} does not obey {}: {} (found: {})\n", entry.name(), law,
               entry.exceptions().at(law), violation);
    EXPECT_NE(violation, "") << entry.name() << " obeys " << law << ": the exception is not needed";
  }
  for (const auto& [name, reason] : entry.exceptions()) {
    const bool known =
        std::any_of(laws.begin(), laws.end(), [&](const auto& law) { return law.first == name; });
    EXPECT_TRUE(known) << entry.name() << " declares an exception to \"" << name
                       << "\", which is no law of its kind";
  }
}

// The message of the first case that fails, where a law is checked on several.
template <class Cases, class Check>
Violation first_violation(const Cases& cases, const Check& check) {
  for (const auto& one : cases) {
    if (const Violation violation = check(one); !violation.empty()) return violation;
  }
  return "";
}

}  // namespace quell
