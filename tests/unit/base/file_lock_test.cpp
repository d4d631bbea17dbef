#include "framework/base/file_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "framework/base/error.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using State = FileLock::State;

TEST(FileLock, OneOwnerAtATime) {
  const TemporaryFolder folder;
  {
    const FileLock first = FileLock::exclusive(folder / "lock");
    EXPECT_TRUE(first.held());
    EXPECT_EQ(FileLock::exclusive(folder / "lock").state(), State::kBusy);
    EXPECT_EQ(FileLock::shared(folder / "lock").state(), State::kBusy);
  }
  EXPECT_TRUE(FileLock::exclusive(folder / "lock").held());
}

TEST(FileLock, ReadersShare) {
  const TemporaryFolder folder;
  folder.write("file", "");
  FileLock first = FileLock::shared(folder / "file");
  {
    const FileLock second = FileLock::shared(folder / "file");
    EXPECT_TRUE(first.held());
    EXPECT_TRUE(second.held());
    EXPECT_EQ(FileLock::exclusive(folder / "file").state(), State::kBusy);
  }
  const FileLock moved = std::move(first);
  EXPECT_EQ(FileLock::exclusive(folder / "file").state(), State::kBusy);
  EXPECT_EQ(FileLock::shared(folder / "none").state(), State::kUnsupported);
}

TEST(FileLock, GoesWithTheFile) {
  const TemporaryFolder folder;
  FileLock first = FileLock::exclusive(folder / "lock");
  first.remove_file();
  EXPECT_FALSE(std::filesystem::exists(folder / "lock"));
  const FileLock second = FileLock::exclusive(folder / "lock");
  EXPECT_TRUE(second.held());
  EXPECT_EQ(FileLock::exclusive(folder / "lock").state(), State::kBusy);
}

// A process that inherits the descriptor has the lock as well.
TEST(FileLock, IsInherited) {
  const TemporaryFolder folder;
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  pid_t child = 0;
  {
    const FileLock lock = FileLock::exclusive(folder / "lock");
    child = ::fork();
    if (child == 0) {
      ::close(pipe[1]);
      char end = 0;
      const bool ended = ::read(pipe[0], &end, 1) == 0;  // waits for the parent
      ::_exit(ended ? 0 : 1);
    }
  }
  ::close(pipe[0]);
  EXPECT_EQ(FileLock::exclusive(folder / "lock").state(), State::kBusy);
  ::close(pipe[1]);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(FileLock::wait_exclusive(folder / "lock").held());
}

TEST(FileLock, NeedsAFolder) {
  const TemporaryFolder folder;
  EXPECT_THAT(message_of<Error>([&] { FileLock::exclusive(folder / "none/lock"); }),
              testing::HasSubstr("none/lock: cannot create"));
}

}  // namespace
}  // namespace quell
