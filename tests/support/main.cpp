// Tests run with the kernels that the program uses. --file=STEM runs the tests of one source file.
#include <gmock/gmock.h>

#include <filesystem>
#include <iostream>
#include <string>

#include "framework/base/instruction_sets.h"

namespace {

// The filter that chooses the tests of STEM.cpp.
std::string tests_of_file(const std::string& stem) {
  std::string filter;
  const testing::UnitTest& all = *testing::UnitTest::GetInstance();
  for (int i = 0; i < all.total_test_suite_count(); ++i) {
    const testing::TestSuite& suite = *all.GetTestSuite(i);
    for (int j = 0; j < suite.total_test_count(); ++j) {
      const testing::TestInfo& test = *suite.GetTestInfo(j);
      if (std::filesystem::path(test.file()).stem() == stem) {
        filter += std::string(filter.empty() ? "" : ":") + suite.name() + "." + test.name();
      }
    }
  }
  return filter;
}

}  // namespace

int main(int argc, char** argv) {
  quell::fix_instruction_sets();
  testing::InitGoogleMock(&argc, argv);
  const std::string option = argc > 1 ? argv[1] : "";
  if (option.starts_with("--file=")) {
    const std::string filter = tests_of_file(option.substr(7));
    if (filter.empty()) {
      std::cerr << "No tests in " << option.substr(7) << ".cpp\n";
      return 1;
    }
    GTEST_FLAG_SET(filter, filter);
  }
  return RUN_ALL_TESTS();
}
