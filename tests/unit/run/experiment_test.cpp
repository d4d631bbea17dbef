// What an experiment may be called, and how many threads it may have.
#include "framework/run/experiment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include "framework/base/error.h"
#include "framework/run/threads.h"
#include "tests/support/small_experiment.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::HasSubstr;

std::string named(const std::string& name) {
  std::string yaml = tokens_experiment();
  return yaml.replace(yaml.find("tiny"), 4, name);
}

std::string loaded_name(const std::string& name) {
  const TemporaryFolder folder;
  return load_experiment(folder.write("x.yaml", named(name)), {}, all_plugins()).name;
}

TEST(ExperimentName, IsThatOfOneFolder) {
  for (const char* name : {"a", "quickstart-w6a6", "A.b_c=d+e-9", "...", ".hidden", "2024"}) {
    EXPECT_EQ(loaded_name(name), name);
  }
  for (const char* name : {"..", ".", "../../x", "/tmp/x", "a/b", "a/", "'a b'", "\"a\\0b\"",
                           "\"a\\nb\"", "größe", "'$(x)'", "'a:b'"}) {
    EXPECT_THAT(
        message_of<ConfigError>([&] { loaded_name(name); }),
        AllOf(HasSubstr("x.yaml:1:7: name: must be the name of one folder"), HasSubstr("--output")))
        << name;
  }
}

TEST(ExperimentDevice, IsThatOfTheEngine) {
  const TemporaryFolder folder;
  const auto load = [&](const char* model) {
    std::string yaml = tokens_experiment();
    yaml.insert(yaml.find("path:"), model);
    return engine_of(load_experiment(folder.write("x.yaml", yaml), {}, all_plugins()));
  };
  EXPECT_EQ(load(""), "packed");
  EXPECT_EQ(load("device: cuda, "), "libtorch");
  EXPECT_EQ(load("device: cuda, engine: libtorch, "), "libtorch");
  EXPECT_THAT(message_of<ConfigError>([&] { load("device: cuda, engine: integer, "); }),
              HasSubstr("integer computes on the CPU; with `device: cuda` write libtorch"));
}

TEST(Threads, AreANumberThatMakesSense) {
  const auto with = [](const char* text) {
    ::setenv("QUELL_THREADS", text, 1);
    return all_threads();
  };
  EXPECT_EQ(with("3"), 3);
  EXPECT_EQ(with("1024"), 1024);
  EXPECT_GE(with("0"), 1);
  EXPECT_GE(with(""), 1);
  for (const char* text :
       {"-1", "1025", "2147483648", "99999999999999999999", "two", "1.5", "2x"}) {
    EXPECT_THAT(message_of<ConfigError>([&] { with(text); }),
                HasSubstr("QUELL_THREADS is \"" + std::string(text) + "\""));
  }
  ::unsetenv("QUELL_THREADS");
}

}  // namespace
}  // namespace quell
