// What every plug-in of every kind has in common.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "framework/config/load.h"
#include "framework/plugin/reference.h"
#include "tests/support/engine.h"

namespace quell {
namespace {

TEST(EveryPlugin, SaysWhatItIsAndWhereItComesFrom) {
  for (const RegistryBase* kind : all_plugins().kinds()) {
    for (const PluginEntry* entry : kind->entries()) {
      SCOPED_TRACE(kind->kind() + " " + entry->name());
      EXPECT_FALSE(entry->summary().empty());
      EXPECT_FALSE(entry->source().empty());
      EXPECT_EQ(entry->summary().find('\n'), std::string::npos);
    }
  }
}

// What `check --resolved` prints reads back to the same.
TEST(EveryPlugin, ParametersArePrintedAndReadBack) {
  for (const RegistryBase* kind : all_plugins().kinds()) {
    for (const PluginEntry* entry : kind->entries()) {
      SCOPED_TRACE(kind->kind() + " " + entry->name());
      const std::string text = to_yaml(entry->params().print(entry->params().make().get()));
      Problems problems;
      ReadContext context{problems, &all_plugins()};
      const auto params = entry->params().make();
      entry->params().read(parse_yaml(text, "printed.yaml", problems), "", context, params.get());
      EXPECT_EQ(to_yaml(entry->params().print(params.get())), text);
    }
  }
}

TEST(EveryPlugin, IsListedAndDescribed) {
  const auto list = list_json(all_plugins());
  const std::string page = reference_markdown(all_plugins());
  for (const RegistryBase* kind : all_plugins().kinds()) {
    for (const PluginEntry* entry : kind->entries()) {
      SCOPED_TRACE(kind->kind() + " " + entry->name());
      EXPECT_NE(page.find(entry->summary()), std::string::npos);
      EXPECT_NE(describe_text(all_plugins(), kind->kind(), entry->name()).find(entry->summary()),
                std::string::npos);
      EXPECT_NE(list.dump().find("\"" + entry->name() + "\""), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace quell
