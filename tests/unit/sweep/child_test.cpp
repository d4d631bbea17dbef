// Processes of a sweep: how they end, and what they are given.
#include "framework/sweep/child.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/base/file_lock.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::HasSubstr;

class ChildTest : public testing::Test {
 protected:
  ChildCommand shell(const std::string& script) const {
    ChildCommand command;
    command.arguments = {"/bin/sh", "-c", script};
    command.output = folder_ / "output";
    return command;
  }
  TemporaryFolder folder_;
};

TEST_F(ChildTest, SaysHowItEnded) {
  Child good(shell("echo said; echo complained >&2"));
  EXPECT_TRUE(good.wait().success());
  EXPECT_EQ(read_file(folder_ / "output"), "said\ncomplained\n");
  EXPECT_EQ(Child(shell("exit 3")).wait().text(), "exit code 3");
  const ChildEnd killed = Child(shell("kill -TERM $$")).wait();
  EXPECT_FALSE(killed.success());
  EXPECT_EQ(killed.signal, SIGTERM);
  EXPECT_THAT(killed.text(), HasSubstr("killed by signal 15"));
}

TEST_F(ChildTest, AProgramThatIsNotThereIsAnEnd) {
  ChildCommand command = shell("");
  command.arguments[0] = (folder_ / "nothing").string();
  EXPECT_EQ(Child(command).wait().exit_code, 127);
}

TEST_F(ChildTest, AnOutputThatCannotBeWrittenIsAnError) {
  ChildCommand command = shell("");
  command.output = folder_ / "none/output";
  EXPECT_THAT(message_of<Error>([&] { Child child(command); }), HasSubstr("cannot write"));
}

TEST_F(ChildTest, HasItsVariablesAndNoInput) {
  ChildCommand command = shell("cat; echo \"$QUELL_TEST:$HOME\"");
  ::setenv("QUELL_TEST", "old", 1);
  ::setenv("HOME", "/home/me", 1);
  command.environment = {{"QUELL_TEST", "new"}};
  EXPECT_TRUE(Child(command).wait().success());
  EXPECT_EQ(read_file(folder_ / "output"), "new:/home/me\n");
}

TEST_F(ChildTest, KeepsTheLockThatItInherits) {
  ChildCommand command = shell("kill -STOP $$");
  std::unique_ptr<Child> child;
  {
    const FileLock lock = FileLock::exclusive(folder_ / "lock");
    command.inherited = lock.descriptor();
    child = std::make_unique<Child>(command);
  }
  EXPECT_EQ(FileLock::exclusive(folder_ / "lock").state(), FileLock::State::kBusy);
  child->send(SIGKILL);
  EXPECT_EQ(child->wait().signal, SIGKILL);
  EXPECT_TRUE(FileLock::exclusive(folder_ / "lock").held());
}

}  // namespace
}  // namespace quell
